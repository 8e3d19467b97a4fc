"""What the rest of the package asks of an agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..attributes import MAX_TEXT
from ..findings import Finding
from .harvests import Listener

Ended = Callable[[], bool]

Headers = Sequence[tuple[str, str]]
"""What has a trace go on in another process: W3C Trace Context, and New Relic's own."""


class Limits(NamedTuple):
    """What the agent takes now.

    `text`: bytes of one value; `events` and `size`: custom events, and bytes, of one harvest;
    `next_harvest`: seconds from one harvest until the next must be over. `application`: whose
    harvests tell what arrived; `None` if none will, and what the agent takes counts as delivered.
    """

    text: int = MAX_TEXT
    application: str | None = None
    events: int = 0
    size: int = 0
    next_harvest: float = 0.0


class Agent(Protocol):
    """What the rest of the package asks of an agent."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction, whatever text it is, or `None`."""
        ...

    def name_transaction(self, name: str) -> None:
        """Name the running transaction, if there is one, after what it does."""
        ...

    def transaction(self, name: str, application: str | None = None) -> Any:
        """Return a context in which a transaction runs: the one that does already, or a new one."""
        ...

    def headers(self) -> Headers:
        """Return what has the trace of the running transaction go on elsewhere; empty without."""
        ...

    def resume(self, name: str, headers: Headers) -> Any:
        """Return a context in which a trace goes on: in the running transaction, or a new one."""
        ...

    def why_apart(self, trace_id: str | None) -> str | None:
        """Say why what the LLM does now is not seen in a trace, and the remedy, if that is so."""
        ...

    def limits(self, application: str | None = None) -> Limits:
        """Return what the agent takes now, in the running transaction or for an application.

        Raises `AgentNotRecording`, with cause and remedy, if an event would be dropped now.
        """
        ...

    def record(self, event: dict[str, Any]) -> Ended:
        """Hand one `LlmFeedbackMessage` to the agent, given all its attributes.

        Returns what tells whether its transaction has ended: only then can a harvest take it.
        """
        ...

    def count(self, name: str, times: int = 1) -> None:
        """Count in a metric, now or as soon as the agent can."""
        ...

    def measure(self, name: str, value: float) -> None:
        """Record a value of a metric, now or as soon as the agent can."""
        ...

    def listen(self, listener: Listener) -> None:
        """Have a listener told of each harvest."""
        ...

    def application(self) -> str | None:
        """Register this process as the app's would, and return its name if New Relic answers."""
        ...

    def name(self) -> str | None:
        """Return the name of the app's application at New Relic, whether that answers or not."""
        ...

    def check(self) -> list[Finding]:
        """Look at how the agent is set up, for an operator."""
        ...
