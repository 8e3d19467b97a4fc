"""The chat app, with routes that give the agent other events, and errors, to send."""

from __future__ import annotations

import newrelic.agent
from chat import app
from flask.typing import ResponseReturnValue

__all__ = ["app"]


@app.post("/noise/<int:events>")
def noise(events: int) -> ResponseReturnValue:
    for number in range(events):
        newrelic.agent.record_custom_event("Noise", {"number": number})
    return {}


@app.post("/error")
def error() -> ResponseReturnValue:
    try:
        raise ValueError("an error of the app's")
    except ValueError:
        newrelic.agent.notice_error()
    return {}
