"""The chat app; the master uses its store before it forks the workers."""

from __future__ import annotations

from chat import app, feedback

from feedback_blueprint.testing import capture_feedback

__all__ = ["app"]

with capture_feedback(app), app.test_request_context():
    message_id = feedback.stash()
    assert message_id
    assert feedback.submit(message_id, "good").status == "accepted"
    assert feedback.submit(message_id, "bad").revision == 2
