"""What the rest of the package asks of an agent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..attributes import MAX_VALUE_BYTES
from ..findings import Finding
from .harvests import Listener

Ended = Callable[[], bool]

Headers = Sequence[tuple[str, str]]
"""Headers with which a trace goes on in another process: W3C Trace Context and New Relic's."""


class AgentLimits(NamedTuple):
    """What the agent takes now.

    `value_bytes`: of one value of an event; `harvest_events` and `harvest_bytes`: of the custom
    events of one harvest; `next_harvest`: seconds from one harvest until the next must be over.
    `application`: the one whose harvests tell what arrived. `None` if none will: then what the
    agent takes counts as delivered.
    """

    value_bytes: int = MAX_VALUE_BYTES
    application: str | None = None
    harvest_events: int = 0
    harvest_bytes: int = 0
    next_harvest: float = 0.0


class Agent(Protocol):
    """What the rest of the package asks of an agent."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction, which may be any text, or `None`."""
        ...

    def name_transaction(self, name: str) -> None:
        """Give the running transaction a name, if there is one."""
        ...

    def transaction(self, name: str, application: str | None = None) -> Any:
        """Return a context manager: a transaction runs in it, the running one or a new one."""
        ...

    def headers(self) -> Headers:
        """Return headers with which the running transaction's trace goes on; empty if none runs."""
        ...

    def resume(self, name: str, headers: Headers) -> Any:
        """Return a context manager: the running transaction, or a new one, joins the trace."""
        ...

    def why_not_in_trace(self, trace_id: str | None) -> str | None:
        """Say why LLM events of now do not join a trace, and the remedy; `None` if they do."""
        ...

    def limits(self, application: str | None = None) -> AgentLimits:
        """Return what the agent takes now, in the running transaction or for an application.

        Raises `AgentNotRecording` with cause and remedy if the agent would drop an event now.
        """
        ...

    def record(self, event: dict[str, Any]) -> Ended:
        """Hand one `LlmFeedbackMessage` to the agent, given all its attributes.

        Returns a function that tells whether its transaction has ended. Until then no harvest
        takes the event.
        """
        ...

    def count(self, name: str, times: int = 1) -> None:
        """Count in a metric, now or as soon as the agent can."""
        ...

    def measure(self, name: str, value: float) -> None:
        """Record a value of a metric, now or as soon as the agent can."""
        ...

    def listen(self, listener: Listener) -> None:
        """Tell a listener of each harvest, as long as it lives."""
        ...

    def application(self) -> str | None:
        """Register this process as the app does; return the name if New Relic answers."""
        ...

    def name(self) -> str | None:
        """Return the application's name at New Relic, even if New Relic does not answer."""
        ...

    def check(self) -> list[Finding]:
        """Check how the agent is set up, for an operator."""
        ...
