"""A chat over Flask-SocketIO: messages made, rated and taken back by a real client's events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from collector import Collector
from gunicorn_server import Gunicorn, StartServer
from socketio import SimpleClient

WITHOUT = ["ask without a transaction", "ask in the wrong order"]


@pytest.fixture(scope="module", params=["websocket", "polling"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def server(chat_server: StartServer) -> Iterator[Gunicorn]:
    env = {"FLASK_SECRET_KEY": "k"}
    options = {"worker_class": "gthread", "threads": 20}
    with chat_server("sockets:app", env=env, **options) as running:
        yield running


@pytest.fixture
def user(server: Gunicorn, transport: str) -> Iterator[Callable[[str], SimpleClient]]:
    """Ask for a socket of a user, who has logged in, or of a visitor."""
    with ExitStack() as stack:

        def user(name: str | None = None) -> SimpleClient:
            cookie = server.get(f"/login/{name}").headers["Set-Cookie"] if name else ""
            client = stack.enter_context(SimpleClient())
            client.connect(
                f"http://127.0.0.1:{server.port}",
                headers={"Cookie": cookie.partition(";")[0]},
                transports=[transport],
            )
            return client

        yield user


def test_a_message_made_in_a_handler_is_rated_and_taken_back_by_its_rater(
    server: Gunicorn, collector: Collector, user: Callable[..., SimpleClient]
) -> None:
    ann, bob, visitor = user("ann"), user("bob"), user()
    made = ann.call("ask", "hello")
    assert made["reply"] == "HELLO"
    for message_id in made["message_id"], made["stashed"]:
        for stranger in bob, visitor:
            assert stranger.call("rate", (message_id, "bad")) == "unknown-message"
        assert ann.call("rate", (message_id, "good")) == "accepted"
        assert ann.call("rate", (message_id, "good")) == "unchanged"
        assert ann.call("retract", message_id) == "retracted"
        assert ann.call("retract", message_id) == "unknown-message"
        events = collector.wait_for(2, message_id=message_id)
        assert sorted((event["revision"], event["rating"]) for event in events) == [
            (1, "good"),
            (2, "retracted"),
        ]
        assert {event["trace_id"] for event in events} == {made["trace_id"]}


@pytest.mark.parametrize("event", WITHOUT)
def test_without_a_transaction_nothing_is_kept_and_the_log_says_what_to_do(
    server: Gunicorn, user: Callable[..., SimpleClient], event: str
) -> None:
    ann = user("ann")
    assert ann.call("ask", "hello")["message_id"]
    made = ann.call(event, "hello")
    assert made["reply"] == "HELLO"
    assert made["stashed"] is None
    assert made["message_id"] is None, "it is not the one of the event before"
    said = "@newrelic.agent.background_task(), in a socket's handler below @socketio.on()"
    assert said in server.log.read_text()
