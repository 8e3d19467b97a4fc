"""The chat app, registered with New Relic as it is imported: under --preload, before the fork."""

from __future__ import annotations

import newrelic.agent
from chat import app

__all__ = ["app"]

newrelic.agent.register_application(timeout=20)
