"""The agent's harvests: each is a tick of our clock, and tells which events New Relic accepted.

No public function of the agent tells that an event arrived. So we wrap three of its functions, with
the agent's public `wrap_function_wrapper`. They are the same since agent 9.8. If an agent does not
have one of them, the log and `flask feedback check` say what that means.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import newrelic.agent
from newrelic.core.config import global_settings  # the one of agent.py counts its calls

from ..logs import ThrottledLog, logger
from .metrics import METRICS

EVENT = "LlmFeedbackMessage"

HARVEST = "newrelic.core.application:Application.harvest"
SENDER = "newrelic.core.data_collector:Session.send_custom_events"
ROLLBACK = "newrelic.core.stats_engine:StatsEngine.rollback"


@dataclass
class Harvest:
    """One harvest of one New Relic application.

    `began` is by `time.monotonic()`. `has_events`: it took the custom events that the agent held,
    and the agent does not hold them any more: they were sent, or lost. `is_active`: the agent has a
    session after the harvest. `is_last`: this process records nothing any more.
    """

    application: str
    began: float = field(default_factory=time.monotonic)
    has_events: bool = False
    is_active: bool = False
    is_last: bool = False


class Listener:
    """Learns of harvests, in the agent's own thread. It must not take long."""

    def arrived(self, application: str, feedback: Sequence[Mapping[str, Any]], /) -> None:
        """Learn which feedback New Relic accepted, by the attributes of its events."""

    def harvested(self, harvest: Harvest, /) -> None:
        """Learn that a harvest is over, whatever became of it."""


_listeners: WeakSet[Listener] = WeakSet()

_current = threading.local()

ERRORS_CAUGHT = ThrottledLog().catch("A harvest of the agent was not followed.")
"""Keeps our errors from the agent, which would lose the harvest."""


def listen(listener: Listener) -> None:
    """Tell a listener of each harvest of this process, as long as it lives."""
    _listeners.add(listener)
    missing_functions()  # the first call wraps them


@functools.cache
def missing_functions() -> tuple[str, ...]:
    """Wrap the agent's functions once in a process; log and return those that it does not have."""
    not_there = []
    for name, wrapper in ((HARVEST, _harvest), (SENDER, _send), (ROLLBACK, _roll_back)):
        try:
            newrelic.agent.wrap_function_wrapper(*name.split(":"), wrapper)
        except (ImportError, AttributeError):
            not_there.append(name)
    if not_there:
        logger.warning("%s", explain_missing(not_there))
    return tuple(not_there)


def explain_missing(not_there: Sequence[str]) -> str:
    """Say what does not work if the agent does not have some of the functions."""
    return (
        f"This version of the agent has no {' and no '.join(not_there)}. So it is not known which "
        "votes arrive, and those that the agent loses may not be recorded again: "
        "use another version of newrelic, or a newer one of feedback-blueprint."
    )


def sees_what_arrives() -> bool:
    """Whether we can see what the agent sends."""
    return SENDER not in missing_functions()


def why_nothing_is_sent() -> str | None:
    """Say why this process will not send anything; `None` if it will."""
    agent = _agent()
    settings: Any = global_settings()
    try:
        if settings.serverless_mode.enabled:
            return None  # each transaction is sent when it ends
        if agent._harvest_shutdown.is_set():
            return "The agent of this process has ended: the process is about to."
        if agent._process_id != os.getpid() or not agent._harvest_thread.is_alive():
            return (
                "The agent sends nothing from this process: it was started before the process was "
                "forked. Answer no request and register no application before the fork."
            )
    except AttributeError:  # this agent hides it; what does not arrive is recorded again
        pass
    return None


def why_custom_events_are_off(settings: Any) -> str | None:
    """Say why the agent sends no custom events, and the remedy; `None` if it sends them."""
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


def _agent() -> Any:
    try:
        from newrelic.core.agent import agent_instance
    except ImportError:
        return None
    return agent_instance()


def _harvest(wrapped: Callable[..., Any], application: Any, args: Any, kwargs: Any) -> Any:
    """Run a harvest, and tell the listeners, however it ends."""
    harvest = _current.harvest = Harvest(application.name)
    with ERRORS_CAUGHT:
        harvest.has_events = _takes_custom_events(application, *args, **kwargs)
        METRICS.hand_over()
    try:
        return wrapped(*args, **kwargs)
    finally:
        _current.harvest = None
        with ERRORS_CAUGHT:
            harvest.is_active = application.active
            harvest.is_last = _agent()._harvest_shutdown.is_set()
        for listener in list(_listeners):
            with ERRORS_CAUGHT:
                listener.harvested(harvest)


def _takes_custom_events(application: Any, shutdown: bool = False, flexible: bool = False) -> bool:  # noqa: ARG001  # the agent's own parameters
    """Whether this harvest takes custom events: New Relic chooses one of its two kinds."""
    settings = application.configuration
    if settings is None:
        return False
    return bool(flexible == ("custom_event_data" in settings.event_harvest_config.allowlist))


def _roll_back(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Note that the agent keeps the events that it could not send."""
    if harvest := getattr(_current, "harvest", None):
        harvest.has_events = False
    return wrapped(*args, **kwargs)


def _send(wrapped: Callable[..., Any], _: Any, args: Any, kwargs: Any) -> Any:
    """Send custom events, and tell the listeners which feedback arrived.

    If New Relic refuses all of them, mostly because they are too large, feedback is sent alone.
    """
    try:
        result = wrapped(*args, **kwargs)
    except Exception as error:
        if type(error).__name__ == "DiscardDataForRequest":  # else the agent sends them again
            with ERRORS_CAUGHT:
                sampling_info, events = args
                feedback = _feedback_among(events)
                if 0 < len(feedback) < len(events):
                    wrapped(sampling_info, feedback)
                    _tell_what_arrived(feedback)
        raise
    with ERRORS_CAUGHT:
        _tell_what_arrived(_feedback_among(args[1]))
    return result


def _feedback_among(events: Sequence[Any]) -> list[Any]:
    return [event for event in events if event[0]["type"] == EVENT]


def _tell_what_arrived(feedback: Sequence[Any]) -> None:
    harvest = getattr(_current, "harvest", None)
    if feedback and harvest:
        for listener in list(_listeners):
            listener.arrived(harvest.application, [attributes for _, attributes in feedback])
