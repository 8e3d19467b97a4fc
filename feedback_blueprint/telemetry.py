"""The only file that imports `newrelic`: what the agent can do now, and telling it."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import newrelic.agent
from newrelic.api.transaction import current_transaction  # the agent.py one counts its calls

from .attributes import MAX_TEXT, text_problem
from .errors import AgentNotRecording
from .findings import Finding
from .reservoir import Reservoir

ARGUMENTS = ("trace_id", "rating", "category", "message")

KEY = "NEW_RELIC_LICENSE_KEY (or NEW_RELIC_CONFIG_FILE, or NEW_RELIC_DEVELOPER_MODE=true) set"

METRICS = "Custom/Feedback/"

REGISTRATION = 10.0
"""Seconds that a check waits for New Relic, where `startup_timeout` is not set."""


class Agent(Protocol):
    """What the rest of the package asks of an agent."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction, whatever text it is, or `None`."""
        ...

    def name_transaction(self, name: str) -> None:
        """Name the running transaction, if there is one, after what it does."""
        ...

    def check(self, size: int = 0) -> int:
        """Return how many bytes of one text value the agent keeps; `size` is the vote's, in bytes.

        Raises `AgentNotRecording`, with cause and remedy, if an event would be dropped now.
        """
        ...

    def record(self, event: dict[str, Any]) -> None:
        """Hand one `LlmFeedbackMessage` to the agent, given all its attributes."""
        ...

    def count(self, name: str) -> None:
        """Add one to a metric, wherever the agent can."""
        ...

    def inspect(self) -> list[Finding]:
        """Look at how the agent is set up, for an operator."""
        ...


class NewRelic:
    """The agent of this process."""

    _reservoirs: ClassVar[dict[str, Reservoir]] = {}  # by application, as the agent has them

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction.

        A client's own header can make it anything; one that no event can carry is none.
        """
        trace_id = newrelic.agent.current_trace_id()
        return None if text_problem(trace_id, MAX_TEXT) else str(trace_id)

    def name_transaction(self, name: str) -> None:
        """Set the name as the agent does for a view that it traces: an app's own can outrank it."""
        newrelic.agent.set_transaction_name(name, priority=2)

    def check(self, size: int = 0) -> int:
        """Look at each of the agent's reasons to drop an event without a word."""
        transaction = _running_transaction()
        if why := why_custom_events_are_off(transaction.settings):
            raise AgentNotRecording(why)
        _, ignored = transaction.application.normalize_name(transaction.path, "transaction")
        if ignored:
            raise AgentNotRecording(
                f"A transaction naming rule ignores {transaction.path}: "
                "exempt the feedback route from it."
            )
        self._reservoir(transaction).check(transaction, size)
        return int(transaction.settings.custom_insights_events.max_attribute_value)

    def record(self, event: dict[str, Any]) -> None:
        """Call `record_llm_feedback_event`."""
        transaction = _running_transaction()
        arguments = {name: event.get(name) for name in ARGUMENTS}  # which win over metadata
        newrelic.agent.record_llm_feedback_event(**arguments, metadata=event)
        self._reservoir(transaction).keep(transaction)

    def _reservoir(self, transaction: Any) -> Reservoir:
        name = transaction.application.name
        return self._reservoirs.get(name) or self._reservoirs.setdefault(name, Reservoir())

    def count(self, name: str) -> None:
        """Record a custom metric, inside a transaction or not."""
        application = newrelic.agent.application(activate=False)
        if application is not None:
            application.record_custom_metric(METRICS + name, 1)

    def inspect(self) -> list[Finding]:
        """Register this process as the app's would, and look at what New Relic answers."""
        local = newrelic.agent.global_settings()
        present = Finding(
            "agent",
            bool(local.enabled and local.monitor_mode),
            f"version {newrelic.version}",
            f"Run this under newrelic-admin run-program, with {KEY}, and monitor_mode on.",
        )
        if not present.ok:
            return [present]
        application: Any = newrelic.agent.register_application(
            timeout=local.startup_timeout or REGISTRATION
        )
        settings = application.settings
        if settings is None:
            remedy = "Check the licence key, the network to New Relic and the agent's log."
            return [present, Finding("registered with New Relic", False, "no", remedy)]
        registered = Finding("registered with New Relic", True, application.name)
        return [present, registered, *_findings(settings, local.startup_timeout)]


def _findings(settings: Any, startup_timeout: float) -> list[Finding]:
    """Judge what the agent agreed on with New Relic."""
    events, limit = settings.custom_insights_events, settings.event_harvest_config
    off = why_custom_events_are_off(settings)
    capacity, period = limit.harvest_limits.custom_event_data, limit.report_period_ms / 1000
    return [
        Finding(
            "high security", not settings.high_security, _on(settings.high_security), off or ""
        ),
        Finding("custom events", off is None, _on(off is None), off or ""),
        Finding(
            "bytes of one value",
            events.max_attribute_value >= MAX_TEXT,
            str(events.max_attribute_value),
            f"Set custom_insights_events.max_attribute_value to {MAX_TEXT} or more.",
        ),
        Finding(
            "reservoir",
            capacity > 0,
            f"{capacity} custom events a process each {period:g} s",
            "Set event_harvest_config.harvest_limits.custom_event_data above 0.",
        ),
        Finding(
            "AI monitoring",
            bool(settings.ai_monitoring.enabled),
            _on(settings.ai_monitoring.enabled),
            "Set ai_monitoring.enabled = true, to see feedback next to the LLM's own events.",
        ),
        Finding(
            "startup_timeout",
            startup_timeout > 0,
            f"{startup_timeout:g} s",
            "Set startup_timeout = 10: the first messages of a process have no trace ID else.",
        ),
    ]


def _running_transaction() -> Any:
    transaction = current_transaction()
    if transaction is None:
        raise AgentNotRecording(_why_no_transaction())
    return transaction


def _on(value: object) -> str:
    return "on" if value else "off"


def why_custom_events_are_off(settings: Any) -> str | None:
    """Name what keeps the agent from sending custom events, and the remedy, if anything does."""
    if settings.high_security:
        return (
            "High security mode drops custom events: "
            "feedback needs an account and an agent with high_security = false."
        )
    if not settings.custom_insights_events.enabled:
        return (
            "The agent's custom events are switched off: set custom_insights_events.enabled = true."
        )
    if not settings.collect_custom_events:
        return (
            "New Relic told the agent to collect no custom events: "
            "check the account's data limits and the application's server-side settings."
        )
    if not settings.event_harvest_config.harvest_limits.custom_event_data:
        return (
            "The agent keeps no custom events: set "
            "event_harvest_config.harvest_limits.custom_event_data above 0, "
            "and check the account's data limits."
        )
    return None


def _why_no_transaction() -> str:
    """Name the cause, and what to do about it."""
    if current_transaction(active_only=False) is not None:
        return (
            "This transaction is ignored or has ended, so its events are dropped: "
            "do not let the agent ignore this route."
        )
    application = newrelic.agent.application(activate=False)
    if application is None or not newrelic.agent.global_settings().monitor_mode:
        return (
            "The New Relic agent is not running in this process: "
            "start the app with newrelic-admin run-program, or call newrelic.agent.initialize() "
            f"before importing flask, with {KEY}, "
            "and leave monitor_mode (NEW_RELIC_MONITOR_MODE) on."
        )
    if not application.active:
        return (
            "The New Relic agent is still connecting: "
            "set startup_timeout so that a process waits for it, and check its log and licence key."
        )
    return (
        "No New Relic transaction is running here: initialize the agent before flask is imported, "
        "and outside of a request use @newrelic.agent.background_task()."
    )
