"""What the app's owner sees of refused votes in New Relic: its own failures, and no one else's."""

from __future__ import annotations

from chatting import made, rate
from collector import Collector
from gunicorn_server import StartServer

ERRORS = "Errors/WebTransaction/Function/feedback_blueprint.views:feedback"


def test_what_a_caller_does_wrong_is_no_error_of_the_apps(
    collector: Collector, chat_server: StartServer
) -> None:
    with chat_server() as server:
        message_id = made(server)
        refused = [
            rate(server, "never made"),
            rate(server, message_id, rating=None),
            server.post("/feedback", headers={"Content-Type": "text/plain"}),
            server.post("/feedback", "x" * 65 * 1024),
            server.get("/feedback"),
        ]
        assert [answer.status for answer in refused] == [404, 422, 415, 413, 422]
        server.stop()  # an agent that ends sends all it has
    assert ERRORS not in collector.metrics()


def test_an_outage_of_the_store_is_one(collector: Collector, chat_server: StartServer) -> None:
    with chat_server(store_url="redis://127.0.0.1:1/0") as server:
        assert rate(server, "never made").status == 503
        server.stop()
    assert collector.metrics()[ERRORS] == 1
