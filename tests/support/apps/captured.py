"""Run a test of the chat app under an agent; print what `flask feedback deliver` prints in it."""

from __future__ import annotations

from chat import app, feedback

from feedback_blueprint.testing import capture_feedback

with capture_feedback(app) as events:
    with app.app_context():
        message_id = feedback.stash()
        assert message_id
        feedback.submit(message_id, "good")
        feedback.capture()
    assert [event["rating"] for event in events] == ["good"]
    print(app.test_cli_runner().invoke(args=["feedback", "deliver"]).output)
