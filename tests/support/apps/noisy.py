"""The chat app, with a route that gives the agent other events to send."""

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
