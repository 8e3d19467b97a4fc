"""What an operator is told of the agent: what a check finds, and why an event would be dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import newrelic.agent
from newrelic.api.transaction import current_transaction

from ..attributes import MAX_VALUE_BYTES
from ..model import Finding
from .harvests import (
    explain_missing,
    missing_functions,
    why_custom_events_are_off,
    why_nothing_is_sent,
)

LICENCE = "NEW_RELIC_LICENSE_KEY (or NEW_RELIC_CONFIG_FILE, or NEW_RELIC_DEVELOPER_MODE=true) set"

ROOM_BYTES = 2000
"""Bytes of a compressed LLM event for which a harvest should have room: about 6,000 of text."""


def findings(register: Callable[[], str | None]) -> list[Finding]:
    """Check how the agent is set up, and what New Relic answers when this process registers.

    `register` returns the application's name, or `None` without an answer.
    """
    local = newrelic.agent.global_settings()
    present = Finding(
        "agent",
        is_enabled(local),
        newrelic.version if is_enabled(local) else f"{newrelic.version}, not running here",
        f"Run this under newrelic-admin run-program, with {LICENCE}, and monitor_mode on.",
    )
    if not present.ok:
        return [present]
    name = register()
    if name is None:
        remedy = "Check the licence key, the network to New Relic and the agent's log."
        return [present, Finding("registered with New Relic", False, "no", remedy)]
    developing = local.developer_mode
    registered = Finding(
        "registered with New Relic",
        not developing,
        f"{name}, in developer mode: nothing is sent" if developing else name,
        "Set NEW_RELIC_LICENSE_KEY, and unset NEW_RELIC_DEVELOPER_MODE, unless this is a trial.",
    )
    settings = newrelic.agent.application(name=name).settings
    return [
        present,
        registered,
        *_check_settings(settings, local.startup_timeout),
        *_check_sending(),
    ]


def _check_sending() -> list[Finding]:
    """Check whether this process sends anything, and whether we can see what arrives."""
    not_there, why = missing_functions(), why_nothing_is_sent()
    seen = f"not visible: {', '.join(not_there)}" if not_there else "visible"
    return [
        Finding("this process sends", why is None, "no" if why else "yes", why or ""),
        Finding("harvests", not not_there, seen, explain_missing(not_there)),
    ]


def _check_size(settings: Any) -> Finding:
    """Check whether LLM events fit in a harvest: the agent does not cut their texts."""
    limit, events = settings.max_payload_size_in_bytes, settings.event_harvest_config.harvest_limits
    has_texts = settings.ai_monitoring.enabled and settings.ai_monitoring.record_content.enabled
    share = limit // max(events.custom_event_data, 1)
    seen = f"{limit:,} bytes, {share:,} an event"
    return Finding(
        "size of a harvest",
        not has_texts or share >= ROOM_BYTES,
        f"{seen}, with prompts and replies" if has_texts else seen,
        "Set ai_monitoring.record_content.enabled = false, or lower "
        "event_harvest_config.harvest_limits.custom_event_data: New Relic refuses what is larger, "
        "and its LLM events are lost. Votes are then sent alone.",
        minor=True,
    )


def _check_settings(settings: Any, startup_timeout: float) -> list[Finding]:
    """Check the settings on which the agent and New Relic agreed."""
    events, harvests = settings.custom_insights_events, settings.event_harvest_config
    off = why_custom_events_are_off(settings)
    capacity, period = harvests.harvest_limits.custom_event_data, harvests.report_period_ms / 1000
    on = f"on, {capacity} per process every {period:g} s"
    return [
        Finding("custom events", off is None, "off" if off else on, off or ""),
        Finding(
            "bytes of one value",
            events.max_attribute_value >= MAX_VALUE_BYTES,
            str(events.max_attribute_value),
            f"Set custom_insights_events.max_attribute_value to {MAX_VALUE_BYTES} or more.",
        ),
        _check_size(settings),
        Finding(
            "AI monitoring",
            # High security switches it off.
            bool(settings.ai_monitoring.enabled or settings.high_security),
            "on" if settings.ai_monitoring.enabled else "off",
            "Set NEW_RELIC_AI_MONITORING_ENABLED=true, to see feedback beside the LLM's events.",
            minor=True,
        ),
        Finding(
            "startup_timeout",
            startup_timeout > 0,
            f"{startup_timeout:g} s",
            "Set NEW_RELIC_STARTUP_TIMEOUT=10: else a process's first messages have no trace ID.",
            minor=True,
        ),
    ]


def is_enabled(settings: Any) -> bool:
    """Whether the agent's settings let it send anything."""
    return bool(settings.enabled and settings.monitor_mode)


def why_no_transaction() -> str:
    """Say why no transaction runs that takes events, and the remedy."""
    if current_transaction(active_only=False) is not None:
        return (
            "This transaction is ignored or has ended, so its events are dropped: "
            "do not let the agent ignore this route."
        )
    application = newrelic.agent.application(activate=False)
    if application is None or not is_enabled(newrelic.agent.global_settings()):
        return (
            "The New Relic agent is not running in this process: "
            "start the app with newrelic-admin run-program, or call newrelic.agent.initialize() "
            f"before importing flask, with {LICENCE}, "
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
