"""The New Relic agent of this process: what it can do now, and telling it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any
from weakref import ref

import newrelic.agent
from newrelic.api.transaction import current_transaction  # the agent.py one counts its calls

from ..attributes import MAX_VALUE_BYTES, text_problem
from ..errors import AgentNotRecording
from ..findings import Finding
from .base import AgentLimits, Ended, Headers
from .checks import findings, runs, why_no_transaction
from .harvests import (
    HARVEST,
    Listener,
    listen,
    missing_functions,
    why_custom_events_are_off,
    why_nothing_is_sent,
)
from .metrics import METRICS

ARGUMENTS = ("trace_id", "rating", "category", "message")

REGISTRATION_SECONDS = 10.0
"""Seconds that a command waits for New Relic if `startup_timeout` is not set."""

DEFAULT_PERIOD_SECONDS = 60.0
"""Seconds between two harvests of the agent's default kind (`core/agent.py`)."""

HARVEST_SECONDS = 5.0
"""Seconds that a harvest takes beside the one request that New Relic does not answer."""


class NewRelic:
    """The agent of this process."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction.

        A client's own header can make it any text. `None` if no event can carry that.
        """
        trace_id = newrelic.agent.current_trace_id()
        return None if text_problem(trace_id, MAX_VALUE_BYTES) else str(trace_id)

    def name_transaction(self, name: str) -> None:
        """Set the name as the agent does for a view: a name that the app gives can outrank it."""
        newrelic.agent.set_transaction_name(name, priority=2)

    def transaction(self, name: str, application: str | None = None) -> Any:
        """Open a background transaction, unless one runs, even one that the app ignores."""
        if current_transaction(active_only=False) is not None:
            return nullcontext()
        found = newrelic.agent.application(activate=False, name=application)
        if found is None:
            return nullcontext()
        return newrelic.agent.BackgroundTask(found, name=name, group="Feedback")

    def headers(self) -> Headers:
        """Let the agent make them. After that, the transaction cannot join another trace."""
        headers: list[tuple[str, str]] = []
        newrelic.agent.insert_distributed_trace_headers(headers)
        return headers

    def resume(self, name: str, headers: Headers) -> Any:
        """Open a background transaction if none runs, and let the agent start for it."""
        running = current_transaction(active_only=False)
        transaction = running
        if transaction is None:
            transaction = newrelic.agent.BackgroundTask(newrelic.agent.application(), name=name)
        transaction.accept_distributed_trace_headers(headers, "Queue")
        return transaction if running is None else nullcontext()

    def why_not_in_trace(self, trace_id: str | None) -> str | None:
        """Check what drops custom events, which LLM events are, and which trace this is."""
        try:
            self.limits()
        except AgentNotRecording as error:
            return str(error)
        if self.trace_id() == trace_id:
            return None
        return (
            "The transaction that runs here has another trace: hand the work over in the "
            "request, let no other transaction run, and leave distributed_tracing.enabled on."
        )

    def limits(self, application: str | None = None) -> AgentLimits:
        """Check each reason for which the agent silently drops an event."""
        if application is None:
            transaction = _running_transaction()
            application, settings = transaction.application.name, transaction.settings
            _refuse_ignored(transaction)
        else:
            settings = newrelic.agent.application(activate=False, name=application).settings
        if why := why_custom_events_are_off(settings) or why_nothing_is_sent():
            raise AgentNotRecording(why)
        harvests = settings.event_harvest_config
        return AgentLimits(
            int(settings.custom_insights_events.max_attribute_value),
            None if HARVEST in missing_functions() else application,
            harvests.harvest_limits.custom_event_data,
            settings.max_payload_size_in_bytes,
            min(harvests.report_period_ms / 1000, DEFAULT_PERIOD_SECONDS)
            + settings.agent_limits.data_collector_timeout
            + HARVEST_SECONDS,
        )

    def record(self, event: dict[str, Any]) -> Ended:
        """Call `record_llm_feedback_event` with a priority above all other events.

        The agent holds a limited number of events for a harvest, and those of higher priority stay.
        A client can choose the priority of its own transaction, but none is above infinity.
        """
        arguments = {name: event.get(name) for name in ARGUMENTS}  # they win over metadata
        transaction = _running_transaction()
        priority = getattr(transaction, "_priority", None)
        transaction._priority = math.inf
        try:
            newrelic.agent.record_llm_feedback_event(**arguments, metadata=event)
        finally:
            transaction._priority = priority
        recorded_in = ref(transaction)
        return lambda: (running := recorded_in()) is None or not running.settings

    def count(self, name: str, times: int = 1) -> None:
        """Add to a custom metric, which goes with the next harvest."""
        self._add(name, 1, times)

    def measure(self, name: str, value: float) -> None:
        """Add to a custom metric, which goes with the next harvest."""
        self._add(name, value)

    def _add(self, name: str, value: float, times: int = 1) -> None:
        METRICS.add(name, value, times)
        if HARVEST in missing_functions():
            METRICS.hand_over()

    def listen(self, listener: Listener) -> None:
        """Tell a listener of the agent's harvests."""
        listen(listener)

    def application(self) -> str | None:
        """Register with New Relic, and wait as long as the app does."""
        local = newrelic.agent.global_settings()
        if not runs(local):
            return None
        timeout = local.startup_timeout or REGISTRATION_SECONDS
        registered: Any = newrelic.agent.register_application(timeout=timeout)
        return str(registered.name) if registered.settings else None

    def name(self) -> str | None:
        """Ask the agent. It knows the name after the app asked it to register."""
        application = newrelic.agent.application(activate=False)
        return None if application is None else str(application.name)

    def check(self) -> list[Finding]:
        """Register this process as the app does, and check what New Relic answers."""
        return findings(self.application)


def _running_transaction() -> Any:
    transaction = current_transaction()
    if transaction is None:
        raise AgentNotRecording(why_no_transaction())
    return transaction


def _refuse_ignored(transaction: Any) -> None:
    _, ignored = transaction.application.normalize_name(transaction.path, "transaction")
    if ignored:
        raise AgentNotRecording(
            f"A transaction naming rule ignores {transaction.path}: exempt it from the rule."
        )
