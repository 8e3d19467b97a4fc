"""The only file that knows `newrelic`: what the agent can do now, and telling it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import newrelic.agent

from .errors import AgentNotRecording

ARGUMENTS = ("trace_id", "rating", "category", "message")


class Agent(Protocol):
    """What the rest of the package asks of an agent."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction, whatever text it is, or `None`."""

    def value_limit(self) -> int:
        """Return how many bytes of one text value the agent keeps."""

    def check(self) -> None:
        """Raise `AgentNotRecording`, with cause and remedy, if an event would be dropped now."""

    def record(self, event: Mapping[str, Any]) -> None:
        """Hand one `LlmFeedbackMessage` to the agent, given all its attributes."""


class NewRelic:
    """The agent of this process."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction."""
        trace_id: str | None = newrelic.agent.current_trace_id()
        return trace_id

    def value_limit(self) -> int:
        """Return `custom_insights_events.max_attribute_value` of the running transaction."""
        transaction = newrelic.agent.current_transaction()
        settings = transaction and transaction.settings
        return int(settings.custom_insights_events.max_attribute_value) if settings else 255

    def check(self) -> None:
        """Look at each of the agent's reasons to drop an event without a word."""
        transaction = newrelic.agent.current_transaction()
        if transaction is None:
            raise AgentNotRecording(_why_no_transaction())
        settings = transaction.settings
        if settings.high_security:
            raise AgentNotRecording(
                "High security mode drops custom events: "
                "feedback needs an account and an agent with high_security = false."
            )
        if not settings.custom_insights_events.enabled:
            raise AgentNotRecording(
                "The agent's custom events are switched off: "
                "set custom_insights_events.enabled = true."
            )
        if not settings.collect_custom_events:
            raise AgentNotRecording(
                "New Relic told the agent to collect no custom events: "
                "check the account's data limits and the application's server-side settings."
            )
        if not settings.event_harvest_config.harvest_limits.custom_event_data:
            raise AgentNotRecording(
                "The agent keeps no custom events: set "
                "event_harvest_config.harvest_limits.custom_event_data above 0, "
                "and check the account's data limits."
            )
        _, ignored = transaction.application.normalize_name(transaction.path, "transaction")
        if ignored:
            raise AgentNotRecording(
                f"A transaction naming rule ignores {transaction.path}: "
                "exempt the feedback route from it."
            )

    def record(self, event: Mapping[str, Any]) -> None:
        """Call `record_llm_feedback_event`."""
        arguments = {name: event.get(name) for name in ARGUMENTS}
        metadata = {name: value for name, value in event.items() if name not in ARGUMENTS}
        newrelic.agent.record_llm_feedback_event(**arguments, metadata=metadata)


def _why_no_transaction() -> str:
    """Name the cause, and what to do about it."""
    if newrelic.agent.current_transaction(active_only=False) is not None:
        return (
            "This transaction is ignored or has ended, so its events are dropped: "
            "do not ignore the feedback route."
        )
    application = newrelic.agent.application(activate=False)
    if application is None or not newrelic.agent.global_settings().monitor_mode:
        return (
            "The New Relic agent is not running in this process: "
            "start the app with newrelic-admin run-program, or call newrelic.agent.initialize() "
            "before importing flask, and leave monitor_mode (NEW_RELIC_MONITOR_MODE) on."
        )
    if not application.active:
        return (
            "The New Relic agent is still connecting: "
            "set startup_timeout so that a process waits for it, and check its log and licence key."
        )
    return (
        "No New Relic transaction is running here: "
        "the agent must be initialized before flask is imported."
    )
