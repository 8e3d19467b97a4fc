"""What users buy this for: the agent's own LLM events and the feedback share a trace.

In the request, and wherever the work of what it captured is done.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from collector import Collector
from gunicorn_server import APPS, Gunicorn, StartServer
from openai_server import REPLY, openai_server
from processes import Group, environment, wait_until
from redis_server import RedisServer
from under_agent import run, under_agent

ANN, BOB = {"User": "ann"}, {"User": "bob"}


@pytest.fixture(scope="module")
def env(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What the server and its workers have in common."""
    folder = tmp_path_factory.mktemp("celery")
    for name in "data", "control":
        (folder / name).mkdir()
    with openai_server() as url:
        yield {
            "C_FORCE_ROOT": "true",
            "FLASK_CELERY_FOLDER": str(folder),
            "FLASK_FEEDBACK_STORE_URL": redis_server.fresh_url(),
            "FLASK_SECRET_KEY": "k",
            "NEW_RELIC_AI_MONITORING_ENABLED": "true",
            "NEW_RELIC_STARTUP_TIMEOUT": "20",
            "OPENAI_API_KEY": "not-a-key",
            "OPENAI_BASE_URL": url,
        }


@pytest.fixture(scope="module")
def server(chat_server: StartServer, env: dict[str, str]) -> Iterator[Gunicorn]:
    store_url = env["FLASK_FEEDBACK_STORE_URL"]
    with chat_server("workers:app", store_url=store_url, env=env) as running:
        yield running


# In the request


@pytest.mark.parametrize("kind", ["plain", "generator", "async", "async-generator"])
def test_the_agents_messages_and_the_feedback_share_a_trace(
    server: Gunicorn, collector: Collector, kind: str
) -> None:
    answer = server.post(f"/{kind}", {"prompt": f"What does {kind} join?"})
    assert answer.text == "".join(REPLY)
    message_id = answer.headers["X-Message-ID"]
    vote = server.post("/feedback", {"message_id": message_id, "rating": "good"})
    assert vote.status == 202, vote.text

    [feedback] = collector.wait_for(message_id=message_id)
    asked, replied = collector.wait_for(
        2, "LlmChatCompletionMessage", trace_id=feedback["trace_id"]
    )
    assert feedback["trace_id"] == answer.headers["X-Trace-ID"]
    assert (asked["role"], asked["content"]) == ("user", f"What does {kind} join?")
    assert (replied["role"], replied["content"]) == ("assistant", "".join(REPLY))


@pytest.mark.parametrize("block", ["", "with"])
@pytest.mark.parametrize("kind", ["stream", "async-stream"])
@pytest.mark.parametrize("end", ["all", "break"])
def test_the_agent_records_a_stream_if_it_is_read_to_its_end_with_a_with_block_or_without(
    server: Gunicorn, collector: Collector, kind: str, block: str, end: str
) -> None:
    prompt = f"{kind} {block} {end}"
    answer = server.post("/read", {"prompt": prompt, "kind": kind, "with": block, "end": end})
    assert answer.text == "".join(REPLY)
    trace_id = answer.headers["X-Trace-ID"]
    # What is asked for later arrives later.
    later = server.post("/async", {"prompt": "What came before?"}).headers["X-Trace-ID"]
    collector.wait_for(2, "LlmChatCompletionMessage", trace_id=later)
    made = collector.events("LlmChatCompletionMessage", trace_id=trace_id)
    assert [event["content"] for event in made] == ([prompt, answer.text] if end == "all" else [])


# Elsewhere, with what it captured


def ask(server: Gunicorn, kind: str, prompt: str) -> str:
    """Have an answer made for Ann, and return the trace ID of the request."""
    answer = server.post(f"/{kind}", {"prompt": prompt}, headers=ANN)
    assert answer.status == 200, answer.text
    return answer.headers["X-Trace-ID"]


def rateable(server: Gunicorn, message_id: str) -> list[str]:
    """What Ann can rate of one message."""
    return server.get(f"/feedback?message_id={quote(message_id)}", headers=ANN).json["rateable"]


def assert_joined(server: Gunicorn, collector: Collector, prompt: str, trace_id: str) -> None:
    """Ann alone can rate the answer, and New Relic shows her vote next to it."""
    vote = {"message_id": prompt, "rating": "good"}
    assert server.post("/feedback", vote, headers=BOB).status == 404
    answer = server.post("/feedback", vote, headers=ANN)
    assert answer.status == 202, answer.text
    [feedback] = collector.wait_for(message_id=prompt)
    assert feedback["trace_id"] == trace_id
    asked, replied = collector.wait_for(2, "LlmChatCompletionMessage", trace_id=trace_id)
    assert (asked["content"], replied["content"]) == (prompt, "".join(REPLY))


@pytest.mark.parametrize("kind", ["pool", "spawn"])
def test_a_thread_and_another_process_work_in_the_trace_of_the_request(
    server: Gunicorn, collector: Collector, kind: str
) -> None:
    for prompt in f"{kind} 1", f"{kind} 2":
        assert_joined(server, collector, prompt, ask(server, kind, prompt))


def test_a_job_of_rq_works_in_the_trace_of_the_request(
    server: Gunicorn, collector: Collector, env: dict[str, str]
) -> None:
    trace_id = ask(server, "rq", "rq")
    command = ["-m", "rq.cli", "worker", "--burst", f"--url={env['FLASK_FEEDBACK_STORE_URL']}"]
    print(run(collector, command, env))
    assert_joined(server, collector, "rq", trace_id)


def test_a_task_of_celery_works_in_the_trace_of_the_request(
    server: Gunicorn, collector: Collector, env: dict[str, str], tmp_path: Path
) -> None:
    prompts = [f"celery {number}" for number in range(2)]
    traces = [ask(server, "celery", prompt) for prompt in prompts]
    command = [sys.executable, "-m", "celery", "-A", "workers.celery", "worker", "--concurrency=1"]
    environ = under_agent(collector.environ() | env)
    log = tmp_path / "celery.log"
    with log.open("wb") as output:
        worker = Group(command, cwd=tmp_path, env=environ, stdout=output, stderr=output)
    try:
        for prompt, trace_id in zip(prompts, traces, strict=True):
            wait_until(partial(rateable, server, prompt), "the message")
            assert_joined(server, collector, prompt, trace_id)
    finally:
        worker.end()
        print(log.read_text())


#: Why the LLM calls are not in the trace, by case of support/apps/resumed.py.
CAUSES = {
    "of_another_trace": "The transaction that runs here has another trace: hand",
    "ignored": "This transaction is ignored or has ended",
    "blind": "No New Relic transaction is running here: initialize",
    "untraced": "The transaction that runs here has another trace: hand",
}
CASES = ["plain", "running", "decorated", "closed_elsewhere", "failing", *CAUSES]


@dataclass
class Resumed:
    """A run of support/apps/resumed.py."""

    said: Mapping[str, list[str]]
    """What it prints and logs, by case."""

    metrics: Mapping[str, int]
    """How often each transaction ran, and each failed (`Errors/...`)."""


@pytest.fixture(scope="module")
def resumed(collector: Collector, env: dict[str, str]) -> Resumed:
    """What one process does that goes through all cases under the agent."""
    said = {}
    for part in run(collector, ["resumed.py", *CASES], env).split("# ")[1:]:
        case, *lines = part.splitlines()
        said[case] = lines
    metrics = {
        name.replace("OtherTransaction/Function/", ""): count
        for name, count in collector.metrics().items()
        if "OtherTransaction/Function/" in name
    }
    return Resumed(said, metrics)


def test_work_joins_the_trace_in_its_own_transaction_or_in_the_one_that_runs(
    resumed: Resumed,
) -> None:
    assert resumed.said["plain"] == resumed.said["running"] == ["in the trace"]
    assert resumed.metrics["plain"] == 1
    assert "not opened" not in resumed.metrics


@pytest.mark.parametrize("case", CAUSES)
def test_work_that_cannot_join_the_trace_is_done_and_the_log_says_why(
    resumed: Resumed, case: str
) -> None:
    why, done = resumed.said[case]
    assert f"the LLM calls of '{case}' with the feedback. {CAUSES[case]}" in why
    assert done == "not in it"


def test_a_function_and_a_stream_leave_no_transaction_behind_in_any_thread(
    resumed: Resumed,
) -> None:
    """Two run the function at once and nested, another one closes the stream."""
    right = [True] * 3
    assert resumed.said["decorated"] == [f"{right} {right}"]
    assert resumed.said["closed_elsewhere"] == ["in the trace", "None"]
    assert resumed.metrics["decorated"] == 2
    assert resumed.metrics["closed elsewhere"] == 1


def test_what_the_work_raises_is_raised_and_noticed(resumed: Resumed) -> None:
    assert resumed.said["failing"] == ["of the work"]
    errors = {name: times for name, times in resumed.metrics.items() if "Errors" in name}
    assert errors == {"Errors/failing": 1}


def test_without_an_agent_the_work_is_done_and_nothing_is_started(env: dict[str, str]) -> None:
    code = """
import threading, resumed
with resumed.make_app().app_context():
    resumed.plain()
print(threading.active_count())
"""
    bare = environment(env | {"PYTHONPATH": str(APPS)})
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False
    )
    assert "start the app with newrelic-admin run-program" in done.stdout, done.stderr
    assert done.stdout.endswith("not in it\n1\n")


def test_the_log_says_what_a_process_that_was_forked_later_does_not_send(
    server: Gunicorn, collector: Collector
) -> None:
    trace_id = ask(server, "fork", "forked")
    vote = {"message_id": "forked", "rating": "good"}
    assert server.post("/feedback", vote, headers=ANN).status == 202
    assert collector.wait_for(message_id="forked")[0]["trace_id"] == trace_id
    said = "the LLM calls of 'answer' with the feedback. The agent sends nothing from this process"
    assert said in server.log.read_text()
