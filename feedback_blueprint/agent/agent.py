"""What the agent can do now, and telling it; `harvests` and `metrics` know `newrelic`, too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol
from weakref import ref

import newrelic.agent
from newrelic.api.transaction import current_transaction  # the agent.py one counts its calls

from ..attributes import MAX_TEXT, text_problem
from ..errors import AgentNotRecording
from ..findings import Finding
from .harvests import HARVEST, Listener, listen, missing, what_it_means, why_none_comes
from .metrics import METRICS

ARGUMENTS = ("trace_id", "rating", "category", "message")

KEY = "NEW_RELIC_LICENSE_KEY (or NEW_RELIC_CONFIG_FILE, or NEW_RELIC_DEVELOPER_MODE=true) set"

REGISTRATION = 10.0
"""Seconds that a check waits for New Relic, where `startup_timeout` is not set."""

DEFAULT_PERIOD = 60.0
"""Seconds between two harvests of the agent's default kind (`core/agent.py`)."""


TEXT = 2000
"""Bytes of an LLM event, compressed, that a harvest should have room for: some 6,000 of text."""

SLACK = 5.0
"""Seconds that a harvest takes beside the one request that New Relic does not answer."""

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


class NewRelic:
    """The agent of this process."""

    def trace_id(self) -> str | None:
        """Return the trace ID of the running transaction.

        A client's own header can make it anything; one that no event can carry is none.
        """
        trace_id = newrelic.agent.current_trace_id()
        return None if text_problem(trace_id, MAX_TEXT) else str(trace_id)

    def name_transaction(self, name: str) -> None:
        """Set the name as the agent does for a view that it traces: an app's own can outrank it."""
        newrelic.agent.set_transaction_name(name, priority=2)

    def transaction(self, name: str, application: str | None = None) -> Any:
        """Open a background transaction if none runs, not even one that the app has ignored."""
        if current_transaction(active_only=False) is not None:
            return nullcontext()
        found = newrelic.agent.application(activate=False, name=application)
        if found is None:
            return nullcontext()
        return newrelic.agent.BackgroundTask(found, name=name, group="Feedback")

    def headers(self) -> Headers:
        """Have the agent make them: from then on the transaction takes none itself."""
        headers: list[tuple[str, str]] = []
        newrelic.agent.insert_distributed_trace_headers(headers)
        return headers

    def resume(self, name: str, headers: Headers) -> Any:
        """Open a background transaction if none runs; as for the agent's, the agent may start."""
        running = current_transaction(active_only=False)
        transaction = running
        if transaction is None:
            transaction = newrelic.agent.BackgroundTask(newrelic.agent.application(), name=name)
        transaction.accept_distributed_trace_headers(headers, "Queue")
        return transaction if running is None else nullcontext()

    def why_apart(self, trace_id: str | None) -> str | None:
        """Look at what drops any custom event, as the LLM's are, and at whose trace this is."""
        try:
            self.limits()
        except AgentNotRecording as error:
            return str(error)
        if self.trace_id() == trace_id:
            return None
        return (
            "The transaction that runs here is of another trace: hand the work over in the "
            "request, let no other transaction run, and leave distributed_tracing.enabled on."
        )

    def limits(self, application: str | None = None) -> Limits:
        """Look at each of the agent's reasons to drop an event without a word."""
        if application is None:
            transaction = _running_transaction()
            application, settings = transaction.application.name, transaction.settings
            _refuse_ignored(transaction)
        else:
            settings = newrelic.agent.application(activate=False, name=application).settings
        if why := why_custom_events_are_off(settings) or why_none_comes():
            raise AgentNotRecording(why)
        harvests = settings.event_harvest_config
        return Limits(
            int(settings.custom_insights_events.max_attribute_value),
            None if HARVEST in missing() else application,
            harvests.harvest_limits.custom_event_data,
            settings.max_payload_size_in_bytes,
            min(harvests.report_period_ms / 1000, DEFAULT_PERIOD)
            + settings.agent_limits.data_collector_timeout
            + SLACK,
        )

    def record(self, event: dict[str, Any]) -> Ended:
        """Call `record_llm_feedback_event`, so that no other event takes this one's place.

        What the agent holds for a harvest is limited, and events of higher priority stay. A client
        can choose that of its own transaction, but nothing is above infinity.
        """
        arguments = {name: event.get(name) for name in ARGUMENTS}  # which win over metadata
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
        """Add to a custom metric, of which each harvest takes what there is."""
        self._add(name, 1, times)

    def measure(self, name: str, value: float) -> None:
        """Add to a custom metric, of which each harvest takes what there is."""
        self._add(name, value)

    def _add(self, name: str, value: float, times: int = 1) -> None:
        METRICS.add(name, value, times)
        if HARVEST in missing():
            METRICS.hand_over()

    def listen(self, listener: Listener) -> None:
        """Follow the agent's harvests."""
        listen(listener)

    def application(self) -> str | None:
        """Register with New Relic, and wait as long as the app would."""
        local = newrelic.agent.global_settings()
        if not _runs(local):
            return None
        timeout = local.startup_timeout or REGISTRATION
        registered: Any = newrelic.agent.register_application(timeout=timeout)
        return str(registered.name) if registered.settings else None

    def name(self) -> str | None:
        """Ask the agent, which knows once it was to register."""
        application = newrelic.agent.application(activate=False)
        return None if application is None else str(application.name)

    def check(self) -> list[Finding]:
        """Register this process as the app's would, and look at what New Relic answers."""
        local = newrelic.agent.global_settings()
        present = Finding(
            "agent",
            _runs(local),
            f"version {newrelic.version}",
            f"Run this under newrelic-admin run-program, with {KEY}, and monitor_mode on.",
        )
        if not present.ok:
            return [present]
        name = self.application()
        if name is None:
            remedy = "Check the licence key, the network to New Relic and the agent's log."
            return [present, Finding("registered with New Relic", False, "no", remedy)]
        developing = local.developer_mode
        registered = Finding(
            "registered with New Relic",
            not developing,
            f"{name}, in developer mode: nothing is sent" if developing else name,
            "Set NEW_RELIC_LICENSE_KEY, and developer_mode = false, unless this is a trial.",
        )
        settings = newrelic.agent.application(name=name).settings
        return [present, registered, *_findings(settings, local.startup_timeout), *_sending()]


def _runs(settings: Any) -> bool:
    return bool(settings.enabled and settings.monitor_mode)


def _sending() -> list[Finding]:
    """Judge whether this process sends anything, and whether it can be told what arrives."""
    not_there, why = missing(), why_none_comes()
    seen = f"not visible: {', '.join(not_there)}" if not_there else "visible"
    return [
        Finding("this process sends", why is None, "no" if why else "yes", why or ""),
        Finding("harvests", not not_there, seen, what_it_means(not_there)),
    ]


def _size(settings: Any) -> Finding:
    """Judge whether the LLM's own events, whose texts the agent does not cut, fit in a harvest."""
    limit, most = settings.max_payload_size_in_bytes, settings.event_harvest_config.harvest_limits
    has_texts = settings.ai_monitoring.enabled and settings.ai_monitoring.record_content.enabled
    share = limit // max(most.custom_event_data, 1)
    return Finding(
        "size of a harvest",
        not has_texts or share >= TEXT,
        f"{limit:,} bytes, {share:,} an event" + (", with prompts and replies" * bool(has_texts)),
        "Set ai_monitoring.record_content.enabled = false, or lower "
        "event_harvest_config.harvest_limits.custom_event_data: New Relic refuses what is larger, "
        "and its LLM events are lost. Votes are then sent alone.",
        minor=True,
    )


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
        _size(settings),
        Finding(
            "AI monitoring",
            bool(settings.ai_monitoring.enabled or settings.high_security),  # which switches it off
            _on(settings.ai_monitoring.enabled),
            "Set ai_monitoring.enabled = true, to see feedback next to the LLM's own events.",
            minor=True,
        ),
        Finding(
            "startup_timeout",
            startup_timeout > 0,
            f"{startup_timeout:g} s",
            "Set startup_timeout = 10: the first messages of a process have no trace ID else.",
            minor=True,
        ),
    ]


def _running_transaction() -> Any:
    transaction = current_transaction()
    if transaction is None:
        raise AgentNotRecording(_why_no_transaction())
    return transaction


def _refuse_ignored(transaction: Any) -> None:
    _, ignored = transaction.application.normalize_name(transaction.path, "transaction")
    if ignored:
        raise AgentNotRecording(
            f"A transaction naming rule ignores {transaction.path}: exempt it from the rule."
        )


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
    if application is None or not _runs(newrelic.agent.global_settings()):
        return (
            "The New Relic agent is not running in this process: "
            "start the app with newrelic-admin run-program, or call newrelic.agent.initialize() "
            f"before importing flask, with {KEY}, "
            "and leave monitor_mode (NEW_RELIC_MONITOR_MODE) on. In a command or a job, also call "
            "newrelic.agent.register_application(timeout=10), or set startup_timeout, and use "
            "@newrelic.agent.background_task()."
        )
    if not application.active:
        why = "The New Relic agent is still connecting, or New Relic refused it: "
        if newrelic.agent.global_settings().startup_timeout:
            return f"{why}check its log, its licence key and the network to New Relic."
        return (
            f"{why}set startup_timeout so that a process waits for it, "
            "and check its log and licence key."
        )
    return (
        "No New Relic transaction is running here: initialize the agent before flask is imported, "
        "and outside of a request use @newrelic.agent.background_task(), "
        "in a socket's handler below @socketio.on()."
    )
