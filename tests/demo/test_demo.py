"""The demo as its user starts it: `python -m feedback_blueprint.demo`, under the real agent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from chatting import comment_of
from collector import Collector
from openai_server import MODEL, REPLY, openai_server
from processes import environment
from running_demo import PROMPT, Demo, demo

JSON = {"Content-Type": "application/json"}


def test_a_vote_is_sent_with_its_trace_id_and_python_waits_if_the_demo_cannot_replace_it(
    tmp_path: Path,
) -> None:
    """As on Windows: Ctrl+C reaches both, and the one that was started is the last to go.

    Without a network: all that the agent says goes to its own stand-in, none to a host.
    """
    start = "from feedback_blueprint.demo.__main__ import main; main(replaces_itself=False)"
    command, audit = [sys.executable, "-c", start], tmp_path / "audit.log"
    unreachable = {"NEW_RELIC_HOST": "127.0.0.1", "NEW_RELIC_PORT": "9"}
    with demo(tmp_path, unreachable | {"NEW_RELIC_AUDIT_LOG": str(audit)}, command) as running:
        message_id = running.reply().headers["X-Message-ID"]
        vote = {"message_id": message_id, "rating": "good", "message": "naïve “✓”"}
        with closing(HTTPConnection("127.0.0.1", running.port, timeout=20)) as connection:
            connection.request("POST", "/feedback", json.dumps(vote), JSON)
            answer = connection.getresponse()
            # The server hangs up when the transaction has ended whose event is to be sent
            event = json.loads(answer.fp.read())["event"]
        running.interrupt()
    assert event.items() >= vote.items()
    assert event["model"] == "built-in responder"
    assert len(event["trace_id"]) == 32
    harvested = audit.read_text()
    assert "LlmFeedbackMessage" in harvested
    assert event["trace_id"] in harvested
    assert event["feedback_id"] in harvested

    env = environment({"HOME": str(tmp_path), "NEW_RELIC_CONFIG_FILE": str(tmp_path / "nowhere")})
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 1


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo"), {}) as started:
        yield started


def test_the_reply_is_streamed(running: Demo) -> None:
    assert f"http://127.0.0.1:{running.port} " in running.log.read_text()
    with closing(HTTPConnection("127.0.0.1", running.port, timeout=20)) as connection:
        connection.request("POST", "/chat", json.dumps(PROMPT), JSON)
        response = connection.getresponse()
        pieces = list(iter(response.read1, b""))
    assert len(pieces) > 3
    assert b"".join(pieces).startswith(b"New Relic keeps it")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "hello",
        {"messages": []},
        {"messages": [{"role": "assistant", "content": "hello"}]},
        {"messages": [{"role": "user", "content": 1}]},
    ],
)
def test_what_is_not_a_conversation_is_refused(running: Demo, body: object) -> None:
    assert running.post("/chat", body).status == 400


def test_votes_are_changed_read_back_and_retracted(running: Demo) -> None:
    message_id = running.reply().headers["X-Message-ID"]
    vote = {"message_id": message_id, "rating": "good"}
    assert running.post("/feedback", vote).status == 202
    assert running.post("/feedback", vote | {"rating": "bad"}).json["revision"] == 2
    [standing] = running.get(f"/feedback?message_id={message_id}").json["feedback"]
    assert standing["rating"] == "bad"

    retracted = running.request("DELETE", f"/feedback?message_id={message_id}")
    assert retracted.status == 202
    assert retracted.json["event"]["retracted"] is True
    assert running.get(f"/feedback?message_id={message_id}").json["feedback"] == []


def test_the_longest_comment_makes_no_long_header(running: Demo) -> None:
    message_id = running.reply().headers["X-Message-ID"]
    comment = "é" * 2047
    vote = running.post(
        "/feedback", {"message_id": message_id, "rating": "good", "message": comment}
    )
    assert comment_of(vote.json["event"]) == comment
    assert len(str(vote.headers)) < 1000


def test_the_page_keeps_to_a_strict_content_security_policy(running: Demo) -> None:
    page = running.get("/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<style" not in page.text
    assert "style=" not in page.text
    assert page.text.count("<script") == page.text.count('<script type="module" src=')


def test_an_openai_compatible_server_answers_its_events_join_and_ctrl_c_ends_the_demo(
    tmp_path: Path, collector: Collector
) -> None:
    """With a configured agent, whose collector is the tests' own."""
    with openai_server() as url:
        env = collector.environ() | {"OPENAI_BASE_URL": url, "OPENAI_MODEL": MODEL}
        with demo(tmp_path, env) as running:
            reply = running.reply()
            assert reply.text == "".join(REPLY)
            vote = {"message_id": reply.headers["X-Message-ID"], "rating": "good"}
            assert running.post("/feedback", vote).status == 202

            [feedback] = collector.wait_for(1)
            assert feedback["model"] == MODEL
            completions = collector.wait_for(1, "LlmChatCompletionMessage", content="".join(REPLY))
            assert {event["trace_id"] for event in completions} == {feedback["trace_id"]}
            running.interrupt()
