"""The New Relic agent of this process: what it can do now, and telling it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple
from weakref import ref

import newrelic.agent
from newrelic.api.transaction import current_transaction  # the agent.py one counts its calls

from ..attributes import MAX_VALUE_BYTES, text_problem
from ..errors import AgentNotRecording
from ..model import Finding
from .checks import findings, is_enabled, why_no_transaction
from .harvests import (
    HARVEST,
    Listener,
    listen,
    missing_functions,
    why_custom_events_are_off,
    why_nothing_is_sent,
)
from .metrics import METRICS

FEEDBACK_ARGUMENTS = ("trace_id", "rating", "category", "message")
"""Parameters of `record_llm_feedback_event` beside `metadata`."""

REGISTRATION_SECONDS = 10.0
"""Seconds that a command waits for New Relic if `startup_timeout` is not set."""

DEFAULT_PERIOD_SECONDS = 60.0
"""Seconds between two harvests of the agent's default kind (`core/agent.py`)."""

HARVEST_SECONDS = 5.0
"""Seconds allowed for a harvest, beside one request that New Relic does not answer in time."""


Ended = Callable[[], bool]
"""Tells whether the transaction in which an event was recorded has ended."""

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


class NewRelic:
    """The agent of this process."""

    def trace_id(self) -> str:
        """Return the trace ID of the running transaction.

        A client's own header can make it any text. Raises `AgentNotRecording`, with cause and
        remedy, if no event can carry it, or if there is none.
        """
        trace_id = newrelic.agent.current_trace_id()
        if text_problem(trace_id, MAX_VALUE_BYTES):
            self.limits()  # if no transaction runs, this says why
            raise AgentNotRecording(
                "A header of the client gives a trace ID that no event can carry."
            )
        return str(trace_id)

    def name_transaction(self, name: str) -> None:
        """Name the running transaction, if there is one, as the agent does for a view.

        A name that the app gives it can outrank this one.
        """
        newrelic.agent.set_transaction_name(name, priority=2)

    def transaction(self, name: str, application: str | None = None) -> Any:
        """Return a context manager that opens a background transaction if none runs.

        A transaction that the app told the agent to ignore is running, too.
        """
        if current_transaction(active_only=False) is not None:
            return nullcontext()
        found = newrelic.agent.application(activate=False, name=application)
        if found is None:
            return nullcontext()
        return newrelic.agent.BackgroundTask(found, name=name, group="Feedback")

    def headers(self) -> Headers:
        """Return headers with which the running transaction's trace goes on; empty if none runs.

        The transaction cannot join another trace after that.
        """
        headers: list[tuple[str, str]] = []
        newrelic.agent.insert_distributed_trace_headers(headers)
        return headers

    def resume(self, name: str, headers: Headers) -> Any:
        """Return a context manager: the running transaction, or a new one, joins the trace.

        Starts the agent if nothing in this process has.
        """
        running = current_transaction(active_only=False)
        transaction = running
        if transaction is None:
            transaction = newrelic.agent.BackgroundTask(newrelic.agent.application(), name=name)
        transaction.accept_distributed_trace_headers(headers, "Queue")
        return transaction if running is None else nullcontext()

    def why_not_in_trace(self, trace_id: str) -> str | None:
        """Say why LLM events of now do not join a trace, and the remedy; `None` if they do.

        LLM events are custom events: what makes the agent drop those makes it drop them.
        """
        try:
            self.limits()
            if self.trace_id() == trace_id:
                return None
        except AgentNotRecording as error:
            return str(error)
        return (
            "The transaction that runs here has another trace: hand the work over in the "
            "request, let no other transaction run, and leave distributed_tracing.enabled on."
        )

    def limits(self, application: str | None = None) -> AgentLimits:
        """Return what the agent takes now, in the running transaction or for an application.

        Raises `AgentNotRecording`, with cause and remedy, for each reason for which the agent would
        silently drop an event.
        """
        if application is None:
            transaction = _running_transaction()
            application, settings = transaction.application.name, transaction.settings
            _refuse_ignored(transaction)
        else:
            settings = newrelic.agent.application(activate=False, name=application).settings
        if why := why_nothing_is_sent():
            raise AgentNotRecording(why)
        return _limits_of(settings, application)

    def record(self, event: dict[str, Any]) -> Ended:
        """Hand one `LlmFeedbackMessage` to the agent, given all its attributes.

        Returns a function that tells whether its transaction has ended. Until then no harvest takes
        the event.

        The agent holds a limited number of events for a harvest, and those of higher priority stay.
        A client can choose the priority of its own transaction, but none is above infinity.
        """
        arguments = {name: event.get(name) for name in FEEDBACK_ARGUMENTS}  # they win over metadata
        transaction = _running_transaction()
        priority = getattr(transaction, "_priority", None)
        transaction._priority = math.inf
        try:
            newrelic.agent.record_llm_feedback_event(**arguments, metadata=event)
        finally:
            transaction._priority = priority
        recorded_in = ref(transaction)
        # The agent takes the settings away from a transaction that has ended.
        return lambda: (found := recorded_in()) is None or not found.settings

    def count(self, name: str, times: int = 1) -> None:
        """Count in a custom metric, which goes with the next harvest."""
        self.measure(name, 1, times)

    def measure(self, name: str, value: float, times: int = 1) -> None:
        """Record a value of a custom metric, `times` times; it goes with the next harvest."""
        METRICS.add(name, value, times)
        if HARVEST in missing_functions():  # no harvest hands them over
            METRICS.hand_over()

    def listen(self, listener: Listener) -> None:
        """Tell a listener of each harvest, as long as it lives."""
        listen(listener)

    def register(self) -> str | None:
        """Register this process as the app does; return the name if New Relic answers in time."""
        local = newrelic.agent.global_settings()
        if not is_enabled(local):
            return None
        timeout = local.startup_timeout or REGISTRATION_SECONDS
        registered: Any = newrelic.agent.register_application(timeout=timeout)
        return str(registered.name) if registered.settings else None

    def application_name(self) -> str | None:
        """Return the application's name at New Relic, even if New Relic does not answer.

        The agent knows it after the app asked it to register.
        """
        application = newrelic.agent.application(activate=False)
        return None if application is None else str(application.name)

    def check(self) -> list[Finding]:
        """Check how the agent is set up, and what New Relic answers, for an operator."""
        return findings(self.register)


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


@functools.lru_cache
def _limits_of(settings: Any, application: str) -> AgentLimits:
    """Return what the agent takes. When it connects it makes new settings, so none are old here."""
    if why := why_custom_events_are_off(settings):
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
