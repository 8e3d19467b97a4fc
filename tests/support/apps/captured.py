"""Run tests of the chat app under an agent, first without a session and then with one.

Print what `flask feedback deliver` prints without one.
"""

from __future__ import annotations

import newrelic.agent
from chat import app, feedback

from feedback_blueprint.testing import capture_feedback


def stash_and_vote() -> None:
    with app.app_context():
        message_id = feedback.stash()
        assert message_id
        feedback.submit(message_id, "good")
        feedback.capture()
    assert [event["rating"] for event in events] == ["good"]


with capture_feedback(app) as events:
    stash_and_vote()
    print(app.test_cli_runner().invoke(args=["feedback", "deliver"]).output)
assert newrelic.agent.application(activate=False) is None, "it has no session"

agent = newrelic.agent.register_application(timeout=10)
with newrelic.agent.BackgroundTask(agent, name="a test"), capture_feedback(app) as events:
    stash_and_vote()
    assert app.test_client().put("/feedback").status_code == 405
