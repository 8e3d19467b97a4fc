"""For the tests of apps that use the blueprint."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Generator
from typing import Any

from flask import Flask

from .agent.new_relic import AgentLimits, Ended, Headers, NewRelic
from .model import Finding
from .votes import EXTENSION


@contextlib.contextmanager
def capture_feedback(app: Flask) -> Generator[list[dict[str, Any]]]:
    """Collect the events that would go to New Relic, in a list of their attributes.

    It needs no agent and no account. Inside the `with` block each message has a trace ID, and each
    vote is recorded. The app's store is used as it is configured. Raises `RuntimeError` if no
    `FeedbackBlueprint` is registered on `app`, and `ConfigurationError` if the app's configuration
    was changed after that: a test would use another store than it says.
    """
    registered = list(app.extensions.get(EXTENSION, {}).values())
    if not registered:
        raise RuntimeError(
            "No FeedbackBlueprint is registered on this app. "
            "Did you forget to call app.register_blueprint()?"
        )
    for votes in registered:
        votes.settings.refuse_changes(app.config)
    agents = [votes.agent for votes in registered]
    collector = _Collector()
    for votes in registered:
        votes.agent = collector
    try:
        yield collector.events
    finally:
        for votes, agent in zip(registered, agents, strict=True):
            votes.agent = agent


class _Collector(NewRelic):
    """An agent that keeps each event and tells New Relic nothing, even if the real one runs.

    What it has counts as delivered.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def trace_id(self) -> str:
        return secrets.token_hex(16)

    def transaction(self, *_: Any, **__: Any) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    def headers(self) -> Headers:
        return ()

    def resume(self, *_: Any, **__: Any) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    def name_transaction(self, name: str) -> None: ...

    def why_not_in_trace(self, *_: Any, **__: Any) -> None:
        return None

    def limits(self, *_: Any, **__: Any) -> AgentLimits:
        return AgentLimits()

    def measure(self, name: str, value: float, times: int = 1) -> None: ...

    def register(self) -> None:
        return None

    def check(self) -> list[Finding]:
        return []

    def record(self, event: dict[str, Any]) -> Ended:
        self.events.append(dict(event))
        return lambda: True
