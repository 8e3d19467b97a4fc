"""A test of the chat app, run in a transaction of an agent that has a session."""

from __future__ import annotations

import newrelic.agent
from chat import app, feedback

from feedback_blueprint.testing import capture_feedback

agent = newrelic.agent.register_application(timeout=10)
with newrelic.agent.BackgroundTask(agent, name="a test"), capture_feedback(app) as events:
    with app.app_context():
        assert feedback.stash("m")
        feedback.submit("m", "good")
    assert [event["rating"] for event in events] == ["good"]
    assert app.test_client().put("/feedback").status_code == 405
