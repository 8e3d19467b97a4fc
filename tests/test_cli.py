"""The commands."""

from __future__ import annotations

import json
import os
import re
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import newrelic.agent
import pytest
import under_agent
from documentation import block
from flask import Flask, request
from outage import failing
from store_kinds import ON_ALL_STORES

from feedback_blueprint import FeedbackBlueprint, cli
from feedback_blueprint.checks import check
from feedback_blueprint.cli import ProgressPrinter, description, table
from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import CastVote, Finding, Message, StoredMessage
from feedback_blueprint.testing import capture_feedback


@pytest.fixture
def run(app):
    runner = app.test_cli_runner()
    return lambda *args: runner.invoke(args=["feedback", *args])


def test_the_dashboard_is_printed_as_json_to_import(run):
    result = run("dashboard")
    assert result.exit_code == 0
    assert json.loads(result.output)["pages"]
    assert not result.output.endswith("\n\n")


def test_check_says_that_the_agent_is_not_running_and_what_to_do(run):
    result = run("check")
    assert result.exit_code == 1
    assert "\u2717 agent" in result.output
    assert "newrelic-admin" in result.output
    assert "\u2713 store" in result.output
    assert newrelic.agent.application(activate=False) is None, "it starts none"


def test_check_prints_json_for_machines(run):
    findings = {finding["what"]: finding for finding in json.loads(run("check", "--json").output)}
    assert findings["agent"]["severity"] == "wrong"
    assert findings["agent"]["remedy"]
    assert findings["store"]["severity"] == "well"
    assert findings["store"]["remedy"] == ""


def test_check_says_that_the_rater_has_its_key(store_url):
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="hunter2", SECRET_KEY_FALLBACKS=["old"], FEEDBACK_STORE_URL=store_url
    )
    app.register_blueprint(FeedbackBlueprint(rater=lambda: "ann"))
    output = app.test_cli_runner().invoke(args=["feedback", "check"]).output
    assert "\u2713 SECRET_KEY" in output
    assert "1 fallback" in output
    assert "hunter2" not in output


def number_kept(votes):
    """How many messages a blueprint has in its store."""
    batches = votes.store.export(votes.keys.beginning, votes.keys.is_ours, [b"a" * 16])
    return sum(looked_at for looked_at, _ in batches)


@ON_ALL_STORES
def test_check_leaves_no_message_and_no_vote_behind(app, run):
    run("check")
    [votes] = app.extensions["feedback_blueprint"].values()
    assert number_kept(votes) == 0
    assert votes.store.backlog(votes.keys.check).votes == 0


@ON_ALL_STORES
def test_check_leaves_no_message_behind_if_its_vote_fails(app, run):
    [votes] = app.extensions["feedback_blueprint"].values()
    with failing(votes.store, "unmark"):
        found = {each["what"]: each for each in json.loads(run("check", "--json").output)}
    store = found["store"]
    assert (store["severity"], store["seen"], store["remedy"]) == ("wrong", "Gone", "Start it.")
    assert any(re.match("SQLite file|Redis", what) for what in found), "all else is looked at"
    assert number_kept(votes) == 0


def test_check_finds_a_store_well(run, events):
    begun = time.monotonic()
    result = run("check", "--json")
    place, store, itself, *_ = json.loads(result.output)
    assert place["what"] == "kept in"
    assert store["what"] == "store"
    assert store["severity"] == "well"
    took = re.fullmatch(
        r"a message and a vote in (\d+\.\d) ms, a read in \d+\.\d ms", store["seen"]
    )
    assert took
    assert 0 < float(took[1]) < (time.monotonic() - begun) * 1000
    assert itself["severity"] == "well"


@pytest.mark.parametrize("command", [["check"], ["show", "m"]])
def test_a_store_that_is_down_is_named_without_its_password(command):
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = "redis://ann:hunter2@127.0.0.1:1/0"
    app.register_blueprint(FeedbackBlueprint())
    result = app.test_cli_runner().invoke(args=["feedback", *command])
    assert result.exit_code == 1
    if command == ["check"]:
        assert "\n\u2717 store " in result.output
        assert "redis://127.0.0.1:1/0, by FEEDBACK_STORE_URL\n" in result.output
    assert "Redis" in result.output
    assert "Check that it runs" in result.output
    assert "hunter2" not in result.output


def test_a_store_that_cannot_be_reached_is_asked_once(monkeypatch):
    """Each question would wait for a timeout or two."""
    app = Flask(__name__)
    app.config["FEEDBACK_STORE_URL"] = "redis://127.0.0.1:1/0"
    app.register_blueprint(FeedbackBlueprint())
    [votes] = app.extensions["feedback_blueprint"].values()
    asked = []
    monkeypatch.setattr(votes.store, "check", lambda *_, **__: asked.append(True) or [])
    assert not check(votes)[-1].ok
    assert asked == []


def test_deliver_says_that_there_is_no_agent_to_send_anything(app, run):
    said = "Error: The agent has no session: see flask feedback check.\n"
    assert run("deliver").output == said
    with capture_feedback(app):
        assert run("deliver").output == said


def test_an_apps_test_tells_new_relic_nothing_even_under_an_agent(collector, tmp_path):
    """Neither one that has no session yet, nor one that has."""
    env = {"FLASK_FEEDBACK_STORE_URL": f"sqlite:///{tmp_path}/feedback.sqlite3"}
    runs = collector.runs
    said = under_agent.run(collector, ["captured.py"], env)
    assert said.startswith("Error: The agent has no session")
    assert not [name for name in collector.metrics() if "feedback" in name.lower()]
    assert collector.runs == runs + 1, "the program's own"


@pytest.fixture
def deliver(monkeypatch):
    """Run the command in an app in which something happens in each second that it waits."""

    def deliver(process, happens):
        seconds = iter(range(1_000))
        now = [0]

        def sleep(_):
            now[0] = next(seconds)
            happens()

        clock = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0], time=time.time)
        monkeypatch.setattr(cli, "time", clock)
        monkeypatch.setattr(cli, "NO_PROGRESS_SECONDS", 3)
        done = process.app.test_cli_runner().invoke(args=["feedback", "deliver"])
        return done.exit_code, done.output

    return deliver


@pytest.mark.parametrize("backlog", [1, 9])
def test_deliver_waits_for_the_votes_of_before_and_no_others(start, deliver, backlog):
    process = start()
    for _ in range(backlog):
        process.rate(process.stash())

    def one_comes_and_one_arrives():
        process.rate(process.stash())
        process.agent.harvest(process.recorded[-1 - backlog], has_events=False)

    assert deliver(process, one_comes_and_one_arrives) == (0, f"{backlog} undelivered\n")
    assert len(process.recorded) - 2 * backlog in (0, 1), "one may come in the same millisecond"


def test_deliver_gives_up_if_nothing_arrives(start, deliver):
    process = start()
    process.rate(process.stash())
    assert deliver(process, lambda: process.rate(process.stash())) == (
        1,
        "1 undelivered\nError: 1 votes do not arrive: see the agent's log.\n",
    )


def test_deliver_says_what_keeps_it_from_delivering(start, deliver, monkeypatch):
    process = start()
    with monkeypatch.context() as patch:
        patch.setattr(process.agent, "register", lambda: None)
        said = "Error: The agent has no session: see flask feedback check.\n"
        assert deliver(process, None) == (1, said)

    with failing(process.votes.store, "backlog"):
        assert deliver(process, None) == (1, "Error: Gone. Start it.\n")


def test_show_prints_all_that_is_kept(app, feedback, events, client, run):
    with app.test_request_context():
        feedback.stash("m", context={"model": "m-1"})
    client.post("/feedback", json={"message_id": "m", "rating": "bad", "message": "né"})
    result = run("show", "m")
    assert result.exit_code == 0
    assert events[0]["trace_id"] in result.output
    assert "model = 'm-1'" in result.output
    assert "revision 1" in result.output
    assert "'message': 'né'" in result.output
    client.delete("/feedback?message_id=m")
    assert "revision 2: retracted" in run("show", "m").output


def test_show_prints_the_text_and_owner_of_an_unrated_message(store_url):
    app, feedback = Flask(__name__), FeedbackBlueprint(rater=lambda: "ann")
    app.config.update(SECRET_KEY="k", FEEDBACK_STORE_URL=store_url, FEEDBACK_STORE_MESSAGE=True)
    app.register_blueprint(feedback)
    with capture_feedback(app), app.test_request_context():
        feedback.stash("m", content="the text")
    result = app.test_cli_runner().invoke(args=["feedback", "show", "m"])
    assert "content    the text" in result.output
    assert "owner      anyone" not in result.output
    assert "ann" not in result.output
    left = r"rateable   for 604[78]\d\d s more\nkept       for 604[78]\d\d s more\n"
    assert re.search(left, result.output)
    assert "FEEDBACK_" not in result.output, "the app's keys may have another prefix"


def test_no_text_of_a_user_draws_on_the_operators_terminal(app, feedback, events, client, run):
    evil = "\x1b[2J\nvote       by somebody \x9b\u202e"
    votes = app.extensions["feedback_blueprint"][feedback]
    votes.settings = votes.settings._replace(store_message=True)
    with app.test_request_context():
        feedback.stash("m", context={"model": evil}, content=evil)
    client.post("/feedback", json={"message_id": "m", "rating": "bad", "message": evil})
    output = run("show", "m").output
    assert output.count("somebody") == 3
    assert all(line.isprintable() for line in output.splitlines())
    assert output.count("\nvote ") == 1


@pytest.mark.parametrize("message_id", ["-dash1", "--dashes"])
def test_show_takes_an_id_that_begins_with_a_dash(app, feedback, events, run, message_id):
    with app.test_request_context():
        feedback.stash(message_id)
    assert "trace ID" in run("show", message_id).output


@pytest.mark.parametrize("message_id", [os.fsdecode(b"\xff"), "", " ", "x" * 256])
def test_show_refuses_what_can_be_no_id(run, message_id):
    result = run("show", message_id)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit)
    assert "Invalid value for MESSAGE_ID: " in result.output


def test_text_that_the_terminal_cannot_show_is_escaped(app, feedback, events, client):
    with app.test_request_context():
        feedback.stash("m", context={"model": "né"})
    client.post("/feedback", json={"message_id": "m", "rating": "good", "message": "\U0001f600"})
    result = app.test_cli_runner(charset="latin-1").invoke(args=["feedback", "show", "m"])
    assert result.exit_code == 0, result.exception
    assert "né" in result.output
    assert "\\U0001f600" in result.output


def test_show_says_that_there_is_no_such_message(run):
    result = run("show", "nowhere")
    assert result.exit_code == 1
    assert "no such message" in result.output


def test_findings_are_set_out_in_columns_with_what_to_do_about_the_bad_ones():
    findings = [
        Finding("agent", True, "version 13", "not needed"),
        Finding("the store", False, "out", "Start it."),
        Finding("memory", False, "no limit", "Set one.", minor=True),
        Finding("file", False, "damaged"),
    ]
    assert table(findings).split("\n") == [
        "\u2713 agent      version 13",
        "\u2717 the store  out",
        "             -> Start it.",
        "! memory     no limit",
        "             -> Set one.",
        "\u2717 file       damaged",
    ]


def test_a_message_is_set_out_with_its_votes():
    message = Message("f" * 32, b"\x01\x02", {"model": "m"}, "text")
    votes = [
        CastVote(b"\x01\x02", 2, b'["good"]', 1_795_921_100_000, False),
        CastVote(b"", 1, b"null", 1_795_921_200_000, True),
    ]
    vote = {"rating": "good", "category": None, "message": None, "metadata": None}
    assert description(StoredMessage("m", message, 900.0, 90.0, votes), now=0).split("\n") == [
        f"trace ID   {'f' * 32}",
        "rateable   for 90 s more",
        "kept       for 900 s more",
        "owner      0102",
        "context    model = 'm'",
        "content    text",
        f"vote       by 0102, revision 2: {vote}",
        "vote       by anyone, revision 1: retracted, undelivered since 2026-11-29T03:00:00+00:00",
    ]
    anyones = StoredMessage("m", message._replace(owner=b""), 1080.0, 980.0, [])
    assert description(anyones, now=1000).split("\n")[1:4] == [
        "rateable   for 0 s more",
        "kept       for 80 s more",
        "owner      anyone",
    ]


# Who asks for what is kept of them

FORGET_ANN = ("feedback", "forget", "--rater", "ann")


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def new_people(store_url):
    """An app of which the rater is in a header, and what runs its commands."""
    feedback = FeedbackBlueprint(rater=lambda: request.headers.get("X-User"))
    reviews = FeedbackBlueprint("reviews", rater=lambda: request.headers.get("X-User"))

    def start(key="new", *fallbacks, prefix="fb:", content=True):
        app = Flask(__name__)
        app.config.update(
            SECRET_KEY=key,
            SECRET_KEY_FALLBACKS=list(fallbacks),
            FEEDBACK_STORE_URL=store_url,
            FEEDBACK_KEY_PREFIX=prefix,
            FEEDBACK_STORE_MESSAGE=content,
        )
        app.register_blueprint(feedback)
        app.register_blueprint(reviews, url_prefix="/reviews")

        def stash(message_id, rater, blueprint=feedback, **options):
            with app.test_request_context():
                assert blueprint.stash(message_id, rater=rater, **options)

        def rate(message_id, rater, path="/feedback", **fields):
            body = {"message_id": message_id, "rating": "good"} | fields
            return app.test_client().post(path, json=body, headers={"X-User": rater}).json

        def run(*args):
            return app.test_cli_runner().invoke(args=args)

        return SimpleNamespace(app=app, reviews=reviews, stash=stash, rate=rate, run=run)

    return start


def test_export_prints_all_that_is_kept_of_a_person(new_people):
    people = new_people()
    with capture_feedback(people.app) as events:
        people.stash("mine", "ann", context={"model": "m-1"}, content="né")
        people.stash("unrated", "ann")
        people.stash("anyone's", None, content="for anyone")
        people.stash("bob's", "bob", content="for Bob")
        people.rate("bob's", "bob", message="Bob's")
        people.rate("anyone's", "bob", message="Bob's")
        people.rate("anyone's", "ann", message="Ann's", metadata={"n": 1})
        people.rate("mine", "ann")
        headers = {"X-User": "ann"}
        people.app.test_client().delete("/feedback?message_id=mine", headers=headers)
    result = people.run("feedback", "export", "--rater", "ann")
    found = {each["message_id"]: each for each in lines(result)}
    assert "Bob" not in result.stdout
    assert result.stderr == "3 messages found of 4 looked at\n"
    assert found.keys() == {"mine", "unrated", "anyone's"}
    assert found["unrated"]["votes"] == []
    mine, [retraction] = found["mine"], found["mine"]["votes"]
    assert (mine["context"], mine["content"]) == ({"model": "m-1"}, "né")
    sent = [event for event in events if event["message_id"] == "mine"][-1]
    assert mine["trace_id"] == sent["trace_id"]
    assert retraction["feedback_id"] == sent["feedback_id"]
    assert (retraction["retracted"], retraction["revision"]) == (True, 2)
    assert found["anyone's"]["content"] is None, "it was not made for her"
    [vote] = found["anyone's"]["votes"]
    assert (vote["rating"], vote["message"], vote["metadata"]) == ("good", "Ann's", {"n": 1})
    assert (vote["retracted"], vote["delivered"]) == (False, True)
    now = datetime.now(timezone.utc)
    assert timedelta() <= now - datetime.fromisoformat(vote["cast_at"]) < timedelta(minutes=1)
    until = datetime.fromisoformat(found["unrated"]["kept_until"])
    assert timedelta(days=6.9) < until - now <= timedelta(days=7)


def test_forget_removes_all_that_is_kept_of_a_person_under_each_of_the_apps_keys(new_people):
    before, now = new_people("old"), new_people("new", "old")
    with capture_feedback(before.app) as old, capture_feedback(now.app) as new:
        before.stash("before", "ann")
        before.rate("before", "ann")
        before.stash("unrated", "ann")
        before.stash("anyone's", None)
        before.rate("anyone's", "ann")
        now.stash("now", "ann")
        now.rate("now", "ann")
        now.stash("bob's", "bob")
        now.rate("bob's", "bob")
        events = {event["message_id"]: event for event in old + new}
        removed = {each["message_id"]: each for each in lines(now.run(*FORGET_ANN))}
        assert removed.keys() == {"before", "unrated", "anyone's", "now"}
        for message_id in "before", "anyone's", "now":
            assert removed[message_id]["feedback_ids"] == [events[message_id]["feedback_id"]]
            assert removed[message_id]["trace_id"] == events[message_id]["trace_id"]
        assert removed["unrated"]["feedback_ids"] == []
        again = now.run(*FORGET_ANN)
        assert (again.stdout, again.stderr) == ("", "0 messages removed of 2 looked at\n")
        assert now.run("feedback", "export", "--rater", "ann").stdout == ""
        [kept] = lines(now.run("feedback", "export", "--rater", "bob"))
        assert kept["message_id"] == "bob's"
        assert now.rate("anyone's", "ann")["revision"] == 1


def test_forget_removes_one_message_or_what_one_person_has_on_it(new_people):
    people = new_people()
    with capture_feedback(people.app):
        for message_id in "-a:1", "b":
            people.stash(message_id, None)
            for rater in "ann", "bob":
                people.rate(message_id, rater)
        [removed] = lines(people.run(*FORGET_ANN, "--message", "b"))
        assert (removed["message_id"], len(removed["feedback_ids"])) == ("b", 1)
        [removed] = lines(people.run("feedback", "forget", "--message", "-a:1"))
        assert (removed["message_id"], len(removed["feedback_ids"])) == ("-a:1", 2)
        [kept] = lines(people.run("feedback", "export", "--rater", "bob"))
        assert kept["message_id"] == "b"
    result = people.run("feedback", "forget", "--message", "nowhere")
    assert (result.stdout, result.stderr) == ("", "0 messages removed\n")


def test_each_blueprint_forgets_its_own_messages_alone(new_people):
    ours, others = new_people(), new_people(prefix="fb:other:")
    with capture_feedback(ours.app), capture_feedback(others.app):
        for message_id in "m", "reviews:m", ":m":
            ours.stash(message_id, "ann")
            ours.stash(message_id, "ann", ours.reviews)
            ours.rate(message_id, "ann", "/reviews/feedback")
            others.stash(message_id, "ann")
        for group in "feedback", "reviews":
            removed = lines(ours.run(group, *FORGET_ANN[1:]))
            assert sorted(each["message_id"] for each in removed) == [":m", "m", "reviews:m"]
        assert len(lines(others.run("feedback", "export", "--rater", "ann"))) == 3


@pytest.mark.parametrize("command", ["forget", "export"])
def test_an_app_without_a_rater_says_what_can_be_forgotten(run, command):
    result = run(command, "--rater", "ann")
    assert result.exit_code == 2
    assert "This app has no rater" in result.output
    assert "forget --message ID" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give --rater X or --message ID."),
        (["--message", " "], "Invalid value for --message"),
    ],
)
def test_forget_asks_whom_or_what(run, arguments, said):
    result = run("forget", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_forget_says_how_far_it_came_if_the_store_fails(new_people, monkeypatch):
    people = new_people()
    with capture_feedback(people.app):
        for message_id in "a", "b":
            people.stash(message_id, "ann")
    [votes, _] = people.app.extensions["feedback_blueprint"].values()
    kept = votes.store.export

    def fail_after_the_first(*args):
        [(number, [first, _])] = kept(*args)
        yield number, [first]
        raise StoreUnavailable("Gone", "Start it.")

    monkeypatch.setattr(votes.store, "export", fail_after_the_first)
    result = people.run(*FORGET_ANN)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 1
    assert "Gone. Start it. 1 messages removed before it failed. Repeat it." in result.stderr


def test_the_commands_in_the_readme_beside_the_stores_are_run_as_they_are(new_people):
    """But for the file that they print into, which is the shell's work."""
    people = new_people()
    shell = block("stores", "sh", "feedback export")
    commands = re.findall(r"^flask (feedback (?:export|forget) .*) > \w+\.jsonl$", shell, re.M)
    assert len(commands) == 3
    with capture_feedback(people.app):
        people.stash("mine", "X")
        people.stash("ID", None)
        people.rate("ID", "Y")
    kept = [lines(people.run(*command.split())) for command in commands]
    assert [[each["message_id"] for each in found] for found in kept] == [["mine"]] * 2 + [["ID"]]


def test_progress_is_printed_beside_the_output(capsys):
    progress = ProgressPrinter()
    for _ in range(250):
        progress(1000)
    assert capsys.readouterr() == ("", "100000 messages looked at\n200000 messages looked at\n")
