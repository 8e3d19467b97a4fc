"""What users of the chat app in apps/chat.py do under gunicorn, and what they are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from collector import Collector, Event
from gunicorn_server import Gunicorn, StartServer
from http_client import Client, Response

from feedback_blueprint.errors import AgentNotRecording

numbers = count(1)

#: However slow this machine may be while so many ask at once.
PATIENT = {"FLASK_FEEDBACK_STORE_TIMEOUT": "5"}


def chat(
    server: Client, path: str = "/plain", *, prompt: str | None = None, **options: Any
) -> Response:
    """Have a message made; its prompt is unique, unless told otherwise."""
    answer = server.post(path, {"prompt": prompt or f"hello {next(numbers)}"}, **options)
    assert answer.status == 200, answer.text
    return answer


def rate(
    server: Client, message_id: str, *, headers: Mapping[str, str] | None = None, **vote: Any
) -> Response:
    """Vote "good", unless told otherwise."""
    return server.post(
        "/feedback", {"message_id": message_id, "rating": "good"} | vote, headers=headers
    )


def made(server: Client, path: str = "/plain") -> str:
    """Make a message, return its ID."""
    return str(chat(server, path).headers["X-Message-ID"])


def at_once(
    call: Callable[[Any], Response], arguments: Iterable[Any], callers: int = 64
) -> list[Response]:
    """Many callers, a connection each."""
    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(call, arguments))


# What becomes of it


def comment_of(event: Event) -> str:
    """The comment, put together again."""
    parts = [event["message"]]
    while (name := f"message_{len(parts) + 1}") in event:
        parts.append(event[name])
    assert not [name for name in event if name.startswith("message_") and name[8:].isdigit()][
        len(parts) - 1 :
    ]
    return "".join(parts)


def assert_recorded(server: Client, collector: Collector, message_id: str, **vote: Any) -> Event:
    """The vote is taken, and its one event arrives whole."""
    answer = rate(server, message_id, **vote)
    assert answer.status == 202, answer.text
    event = collector.wait_for(message_id=message_id)[0]
    assert event["trace_id"]
    assert event["feedback_id"] == answer.json["feedback_id"]
    assert event["revision"] == answer.json["revision"] == 1
    return event


def assert_not_recording(
    server: Gunicorn, message_id: str, *causes: str, headers: Mapping[str, str] | None = None
) -> None:
    """The vote is not taken, and the log says why the agent would drop its event."""
    before = len(server.log.read_bytes())
    answer = rate(server, message_id, headers=headers)
    assert answer.status == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["code"] == "agent-not-recording"
    assert answer.json["detail"] == AgentNotRecording().detail
    said = server.log.read_bytes()[before:].decode().lower()
    for cause in causes:
        assert cause in said


def assert_untouched(answer: Response) -> None:
    """The app's own answer, without a message ID: nothing was kept."""
    assert answer.status == 200
    assert answer.json["reply"]
    assert "X-Message-ID" not in answer.headers


# Fixtures


@pytest.fixture(scope="module")
def server(chat_server: StartServer) -> Iterator[Gunicorn]:
    """The chat app with a working agent, if a file of tests does not make it another one."""
    with chat_server() as running:
        yield running
