"""The host app's log: a line a minute for each kind of trouble, which counts what it left out."""

from __future__ import annotations

import logging

import pytest
from hostile import Untold, raising

from feedback_blueprint import logs
from feedback_blueprint.logs import ThrottledLog


@pytest.fixture
def clock() -> list[float]:
    """The seconds that pass if a test says so."""
    return [1000.0]


@pytest.fixture
def log(clock: list[float]) -> ThrottledLog:
    return ThrottledLog(clock=lambda: clock[0])


def test_each_kind_of_trouble_is_logged_once_a_minute(caplog, log, clock):
    for kind in ("disk", "disk", "network", "disk"):
        log.warn(kind, "No %s.", kind)
    clock[0] += 59.9
    log.warn("disk", "No %s.", "disk")
    assert caplog.messages == ["No disk.", "No network."]
    clock[0] += 0.1
    for kind in ("disk", "network"):
        log.warn(kind, "No %s.", kind)
    assert caplog.messages[2:] == ["No disk. (3 more like this)", "No network."]
    clock[0] += 60
    log.warn("disk", "No %s.", "disk")
    assert caplog.messages[4:] == ["No disk."]
    assert not any(record.exc_info for record in caplog.records)


def test_another_cause_of_one_kind_is_logged_up_to_three_a_minute(caplog, log, clock):
    for cause in ("host 1", "host 2", "port", "user", "host 3", "path"):
        log.warn("network", "No way: %s.", cause, cause=cause)
    assert caplog.messages == ["No way: host 1.", "No way: port.", "No way: user."]
    clock[0] += 60
    log.warn("network", "No way: %s.", "path", cause="path")
    assert caplog.messages[3:] == ["No way: path. (3 more like this)"]
    log.warn("network", "Votes wait.")
    assert caplog.messages[4:] == ["Votes wait."], "what follows from it is not a repetition"


def test_no_line_is_longer_than_a_thousand_characters(caplog):
    for number in (985, 986, 100_000):
        ThrottledLog().warn("context", "Is left out: %s", "x" * number)
    assert [len(message) for message in caplog.messages] == [998, 999, 1003]


def test_the_first_trouble_of_a_machine_that_has_just_started_is_logged(caplog, clock):
    clock[0] = 0.0
    ThrottledLog().warn("disk", "No disk.")
    assert caplog.messages == ["No disk."]


def test_each_type_of_what_goes_wrong_is_a_kind_of_its_own(caplog):
    log = ThrottledLog()
    for error in (KeyError(), KeyError(), ValueError()):
        with log.catch("Not %s.", "kept"):
            raise error
    for what in ("kept", "sent"):
        with log.catch(f"Not {what}."):
            raise KeyError
    assert caplog.messages == ["Not kept."] * 3 + ["Not sent."]
    assert all(record.exc_info and record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize("untold", [Untold(), Untold])
def test_what_cannot_be_shown_is_not_handed_to_the_apps_handlers(caplog, untold):
    ThrottledLog().warn("ID", "Message ID %r cannot be used. %s", untold, "Why.")
    assert caplog.messages == [
        "Message ID %r cannot be used. %s (what it names cannot be shown)",
    ]


def test_what_tells_the_process_to_end_is_obeyed_while_a_line_is_logged(monkeypatch):
    class Impatient:
        __repr__ = raising(KeyboardInterrupt)

    with pytest.raises(KeyboardInterrupt):
        ThrottledLog().warn("ID", "%r", Impatient())
    monkeypatch.setattr(logs.logger, "warning", raising(SystemExit))
    with pytest.raises(SystemExit):
        ThrottledLog().warn("ID", "%r", 1)


def test_nothing_is_said_if_no_room_is_left_to_say_it(caplog, monkeypatch):
    """At the end of the stack; which function finds none there depends on the Python."""
    monkeypatch.setattr(logs, "exits", raising(RecursionError))
    with ThrottledLog().catch("Not kept."):
        raise RecursionError
    assert caplog.messages == []
