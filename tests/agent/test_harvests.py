"""What we lean on inside the agent: if this fails, look at what its new version has instead."""

from __future__ import annotations

import gc
import inspect
import json
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from newrelic.core.agent import Agent
from newrelic.core.application import Application
from newrelic.core.config import global_settings
from newrelic.core.data_collector import DeveloperModeSession, ServerlessModeSession, Session
from newrelic.core.stats_engine import StatsEngine
from newrelic.network.exceptions import DiscardDataForRequest, RetryDataForRequest
from processes import environment
from runbook import is_quoted

from feedback_blueprint.agent import harvests
from feedback_blueprint.agent.harvests import Harvest
from feedback_blueprint.logs import ThrottledLog


def test_the_agents_sender_takes_the_events_second_and_nothing_overrides_it():
    sender = inspect.unwrap(Session.send_custom_events)
    assert list(inspect.signature(sender).parameters)[1:] == ["sampling_info", "custom_event_data"]
    for special in DeveloperModeSession, ServerlessModeSession:
        assert "send_custom_events" not in vars(special)


def test_the_agents_harvest_says_which_kind_it_is():
    harvest = inspect.signature(inspect.unwrap(Application.harvest))
    assert list(harvest.parameters) == ["self", "shutdown", "flexible"]
    assert {"name", "active", "configuration"} <= set(dir(Application))
    assert "rollback" in vars(StatsEngine)


def test_the_agent_knows_the_process_and_the_thread_that_send():
    source = inspect.getsource(Agent)
    for name in "_process_id", "_harvest_thread", "_harvest_shutdown":
        assert f"self.{name} = " in source


def test_the_agents_settings_say_how_much_goes_with_a_harvest_and_how_long_it_waits():
    settings = global_settings()
    assert settings.agent_limits.data_collector_timeout == 30.0
    assert settings.max_payload_size_in_bytes == 1_000_000
    assert settings.event_harvest_config.report_period_ms == 60_000


class Listener:
    def __init__(self):
        self.told, self.harvests = [], []

    def arrived(self, application, feedback):
        self.told.append((application, list(feedback)))

    def harvested(self, harvest):
        self.harvests.append(harvest)


@pytest.fixture
def listener(monkeypatch):
    """Hears of the harvests of this test, and no other test's apps do."""
    monkeypatch.setattr(harvests, "_listeners", weakref.WeakSet())
    listening = Listener()
    harvests.listen(listening)
    return listening


def application(allowlist=("custom_event_data",)):
    """An application of the agent, which sends these kinds of events every few seconds."""
    config = SimpleNamespace(event_harvest_config=SimpleNamespace(allowlist=allowlist))
    return SimpleNamespace(name="tests", active=True, configuration=config)


FEEDBACK = [{"type": "LlmFeedbackMessage"}, {"feedback_id": "f"}]
NOISE = [{"type": "Noise"}, {}]
SAMPLING = {"reservoir_size": 9, "events_seen": 2}


@pytest.fixture
def harvest_of(listener):
    """Run a harvest that sends events to a New Relic that answers with an error, or with none."""

    def harvest_of(events, *errors, allowlist=("custom_event_data",), flexible=True):
        answers = list(errors)
        sent = []

        def send(sampling_info, custom_events):
            assert sampling_info == SAMPLING
            sent.append(list(custom_events))
            if answers and (error := answers.pop(0)):
                raise error

        def harvest(**_):
            try:
                harvests._send(send, None, (SAMPLING, events), {})
            except RetryDataForRequest:
                harvests._roll_back(lambda: None, None, (), {})
            except DiscardDataForRequest:
                pass

        harvests._harvest(harvest, application(allowlist), (), {"flexible": flexible})
        return sent

    return harvest_of


def test_a_listener_hears_of_the_feedback_that_new_relic_accepted(harvest_of, listener):
    harvest_of([FEEDBACK, NOISE])
    assert listener.told == [("tests", [{"feedback_id": "f"}])]
    [harvest] = listener.harvests
    assert (harvest.application, harvest.has_events, harvest.is_active) == ("tests", True, True)


def test_a_listener_hears_of_no_event_if_a_harvest_has_no_feedback(harvest_of, listener):
    assert harvest_of([NOISE]) == [[NOISE]]
    assert listener.told == []


def test_events_that_the_agent_keeps_do_not_count_as_accepted(harvest_of, listener):
    assert len(harvest_of([FEEDBACK, NOISE], RetryDataForRequest())) == 1
    assert listener.told == []
    assert not listener.harvests[0].has_events


def test_what_is_refused_is_sent_again_alone(harvest_of, listener):
    assert harvest_of([NOISE, FEEDBACK], DiscardDataForRequest()) == [[NOISE, FEEDBACK], [FEEDBACK]]
    assert listener.told == [("tests", [{"feedback_id": "f"}])]
    assert listener.harvests[0].has_events


@pytest.mark.parametrize("error", [DiscardDataForRequest, RetryDataForRequest])
def test_what_is_refused_alone_as_well_is_lost(harvest_of, listener, error):
    harvest_of([NOISE, FEEDBACK], DiscardDataForRequest(), error())
    assert listener.told == []
    assert listener.harvests[0].has_events


@pytest.mark.parametrize("events", [[NOISE], [FEEDBACK]])
def test_nothing_is_gained_by_sending_the_same_again(harvest_of, events):
    assert harvest_of(events, DiscardDataForRequest()) == [events]


@pytest.mark.parametrize(
    ("allowlist", "flexible", "theirs"),
    [
        (["custom_event_data"], True, True),
        (["custom_event_data"], False, False),
        (["span_event_data"], True, False),
        (["span_event_data"], False, True),
    ],
)
def test_only_the_harvest_that_new_relic_wants_custom_events_in_has_them(
    harvest_of, listener, allowlist, flexible, theirs
):
    harvest_of([FEEDBACK], allowlist=allowlist, flexible=flexible)
    assert listener.harvests[0].has_events is theirs


def test_a_listener_that_fails_costs_the_agent_nothing(harvest_of, listener, caplog, monkeypatch):
    said = "A harvest of the agent was not followed."
    monkeypatch.setattr(harvests, "ERRORS_CAUGHT", ThrottledLog().catch(said))

    def fail(*_):
        raise OSError("ours")

    listener.arrived = listener.harvested = fail
    assert harvest_of([FEEDBACK]) == [[FEEDBACK]]
    assert caplog.messages == [said], "once a minute"


@pytest.mark.parametrize(
    ("args", "theirs"), [((), False), ((True,), False), ((True, True), True), ((False, True), True)]
)
def test_a_harvest_says_which_kind_it_is_by_position_too(listener, args, theirs):
    assert harvests._harvest(lambda *args: args, application(), args, {}) == args
    assert listener.harvests[0].has_events is theirs


@pytest.mark.parametrize("is_set", [True, False])
def test_the_last_harvest_of_a_process_is_known(listener, monkeypatch, is_set):
    agent = SimpleNamespace(_harvest_shutdown=SimpleNamespace(is_set=lambda: is_set))
    monkeypatch.setattr(harvests, "_agent", lambda: agent)
    application = SimpleNamespace(name="tests", active=True, configuration=None)
    harvests._harvest(lambda: None, application, (), {})
    assert listener.harvests[0].is_last is is_set


def test_an_agent_that_hides_what_it_does_harvests_as_before(listener, monkeypatch):
    monkeypatch.setattr(harvests, "_agent", lambda: None)
    application = SimpleNamespace(name="tests")
    assert harvests._harvest(lambda: "done", application, (), {}) == "done"
    assert listener.harvests == [Harvest("tests", listener.harvests[0].began)]


def test_a_listener_that_nobody_holds_is_forgotten():
    listening = Listener()
    harvests.listen(listening)
    forgotten = weakref.ref(listening)
    del listening
    gc.collect()
    assert forgotten() is None


def test_an_agent_that_fails_in_its_harvest_fails_as_before(listener, caplog):
    application = SimpleNamespace(name="tests", active=False, configuration=None)
    with pytest.raises(ZeroDivisionError):
        harvests._harvest(lambda: 1 / 0, application, (), {})
    assert listener.harvests == [Harvest("tests", listener.harvests[0].began)]
    assert caplog.messages == []


def test_events_that_are_sent_outside_of_a_harvest_are_sent(listener, caplog):
    """Outside of any, or beside that of another thread."""

    def elsewhere():
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(harvests._send, lambda *args: args, None, ({}, [FEEDBACK]), {})
            rolled_back = pool.submit(harvests._roll_back, lambda: "rolled back", None, (), {})
            return sent.result(), rolled_back.result()

    during = harvests._harvest(elsewhere, application([]), (), {})
    assert during == elsewhere() == (({}, [FEEDBACK]), "rolled back")
    assert listener.told == []
    assert listener.harvests[0].has_events
    assert caplog.messages == []


#: Runs each piece of code in a process of its own, and prints the names of those that hold.
IN_PROCESSES = """
import contextlib, gc, json, os, sys, traceback, weakref
import newrelic.agent
newrelic.agent.initialize()
from newrelic.api.transaction import current_transaction
from feedback_blueprint.agent import checks, new_relic
agent = new_relic.NewRelic()

def register():
    return newrelic.agent.register_application("tests", timeout=20)

for name, code in json.load(sys.stdin).items():
    if child := os.fork():
        if os.waitpid(child, 0)[1] == 0:
            print(name)
        continue
    try:
        exec(code)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
"""

WITH_THE_REAL_AGENT = {
    "before the app is registered, no transaction is opened": """
assert type(agent.transaction("too early", "tests")) is contextlib.nullcontext
""",
    "a transaction is opened if none runs": """
register()
with agent.transaction("deliver", "tests"):
    transaction = current_transaction()
    assert (transaction.name, transaction.group) == ("deliver", "Feedback")
    with agent.transaction("inner"):
        assert current_transaction() is transaction
""",
    "a transaction that the app ignores stays ignored": """
application = register()
with newrelic.agent.BackgroundTask(application, "ignored"):
    newrelic.agent.ignore_transaction()
    assert type(agent.transaction("another")) is contextlib.nullcontext
""",
    "an event is recorded with a priority that no other has, and its transaction is let go": """
register()
with contextlib.suppress(new_relic.AgentNotRecording):
    agent.record({"trace_id": "t", "rating": 1})
    raise AssertionError
with agent.transaction("deliver", "tests"):
    transaction = current_transaction()
    transaction._priority = 0.5
    has_ended = agent.record({"trace_id": "t", "rating": 1, "feedback_id": "f"})
    assert transaction._priority == 0.5, "other events keep theirs"
    [(priority, _, (kind, attributes))] = transaction._custom_events.pq
    assert priority == float("inf")
    assert attributes.items() >= {"trace_id": "t", "rating": 1, "feedback_id": "f"}.items()
    assert not has_ended()
assert has_ended()
ended = weakref.ref(transaction)
del transaction
gc.collect()
assert ended() is None, "it is not kept for us"
assert has_ended()
""",
    "if the agent fails, the other events keep their priority": """
register()
with agent.transaction("failing", "tests"):
    before = current_transaction()._priority
    newrelic.agent.record_llm_feedback_event = None
    with contextlib.suppress(TypeError):
        agent.record({})
        raise AssertionError
    assert current_transaction()._priority == before
""",
    "the limits are those of the agent's settings": """
application = register()
with agent.transaction("deliver", "tests"):
    assert agent.limits() == agent.limits("tests") == (255, "tests", 3600, 1_000_000, 95)
for milliseconds, seconds in (5_000, 40), (60_000, 95), (120_000, 95):
    application.settings.event_harvest_config.report_period_ms = milliseconds
    new_relic._limits_of.cache_clear()  # the agent would make new settings
    assert agent.limits("tests").next_harvest == seconds
""",
    "a function that the agent lacks is found by the check": """
register()
for missing, name in ((new_relic.HARVEST,), None), (("another",), "tests"):
    new_relic.missing_functions = checks.missing_functions = lambda: missing
    new_relic._limits_of.cache_clear()
    assert agent.limits("tests").application == name
    found = checks._check_sending()[1]
    assert (found.ok, found.seen) == (False, f"not visible: {missing[0]}")
""",
    "an agent that is switched off takes nothing": """
newrelic.agent.global_settings().monitor_mode = False
register()
try:
    agent.limits()
except new_relic.AgentNotRecording as error:
    assert "monitor_mode" in str(error)
else:
    raise AssertionError
""",
    "an agent that sends nothing takes nothing": """
register()
new_relic.why_nothing_is_sent = lambda: "It has ended."
try:
    agent.limits("tests")
except new_relic.AgentNotRecording as error:
    assert "It has ended." in str(error)
else:
    raise AssertionError
""",
}


@pytest.fixture(scope="module")
def run_with_the_real_agent():
    """What came of all that is run with the real agent."""
    return subprocess.run(
        [sys.executable, "-c", IN_PROCESSES],
        env=environment({"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_APP_NAME": "tests"}),
        input=json.dumps(WITH_THE_REAL_AGENT),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("what", WITH_THE_REAL_AGENT)
def test_what_holds_with_the_real_agent(run_with_the_real_agent, what):
    assert what in run_with_the_real_agent.stdout.splitlines(), run_with_the_real_agent.stderr


FUTURE = """
import os, sys
import flask, marshmallow, redis  # once, not in each child
import newrelic.core.application, newrelic.core.data_collector, newrelic.core.stats_engine
for gone in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    exec(f"del newrelic.core.{gone}")
    from feedback_blueprint.agent import harvests
    for _ in range(2):
        harvests.listen(harvests.Listener())
    print(harvests.missing_functions(), harvests.sees_what_arrives(), flush=True)
    os._exit(0)
"""


def test_what_an_agent_of_the_future_lacks_is_named_and_said_once():
    future = {
        "application.Application.harvest": True,
        "data_collector.Session.send_custom_events": False,
        "stats_engine.StatsEngine.rollback": True,
    }
    done = subprocess.run(
        [sys.executable, "-c", FUTURE, *future],
        env=environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        f"('newrelic.core.{gone.replace('.', ':', 1)}',) {tells}" for gone, tells in future.items()
    ]
    told = done.stderr.splitlines()
    for gone, line in zip(future, told, strict=True):  # once, however many listen
        name = gone.replace(".", ":", 1)
        assert line.startswith(f"This version of the agent has no newrelic.core.{name}. ")
        assert "use another version of newrelic" in line
    assert all(map(is_quoted, told))


def agent_like(*, pid=None, has_ended=False, is_alive=True):
    return SimpleNamespace(
        _process_id=pid or os.getpid(),
        _harvest_shutdown=SimpleNamespace(is_set=lambda: has_ended),
        _harvest_thread=SimpleNamespace(is_alive=lambda: is_alive),
    )


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (agent_like(), None),
        (agent_like(has_ended=True), "The agent of this process has ended"),
        (agent_like(pid=1), "before the process was forked"),
        (agent_like(is_alive=False), "before the process was forked"),
        (SimpleNamespace(), None),
        (None, None),
    ],
    ids=["well", "ended", "forked", "no thread", "hidden", "no agent"],
)
def test_the_reason_why_an_agent_sends_nothing_is_named(monkeypatch, agent, why):
    monkeypatch.setattr(harvests, "_agent", lambda: agent)
    said = harvests.why_nothing_is_sent()
    assert said is None if why is None else why in said


def test_an_agent_without_a_server_sends_at_once_and_needs_no_thread(monkeypatch):
    settings = SimpleNamespace(serverless_mode=SimpleNamespace(enabled=True))
    monkeypatch.setattr(harvests, "global_settings", lambda: settings)
    monkeypatch.setattr(harvests, "_agent", lambda: agent_like(is_alive=False))
    assert harvests.why_nothing_is_sent() is None


def test_an_agent_without_agent_instance_counts_as_recording(monkeypatch):
    monkeypatch.delattr("newrelic.core.agent.agent_instance")
    assert harvests.why_nothing_is_sent() is None
