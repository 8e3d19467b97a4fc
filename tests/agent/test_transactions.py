"""What New Relic shows the app's owner of requests to `/feedback`, beside the events."""

from __future__ import annotations

import pytest
from chatting import made, rate
from collector import Collector
from gunicorn_server import StartServer

SEGMENT = "Function/feedback_blueprint.web.views:feedback"
TRANSACTIONS = f"WebTransaction/{SEGMENT}"
ERRORS = f"Errors/{TRANSACTIONS}"


@pytest.fixture(autouse=True)
def nothing_arrived(collector: Collector) -> None:
    collector.clear()


def test_what_a_caller_does_wrong_is_not_an_error_of_the_app(
    collector: Collector, chat_server: StartServer
) -> None:
    """Each request is a transaction of one name; the view is a segment of it."""
    with chat_server() as server:
        message_id = made(server)
        assert rate(server, message_id).status == 202
        assert server.get("/feedback?message_id=another").status == 200
        refused = [
            rate(server, "never made"),
            rate(server, message_id, rating=None),
            server.post("/feedback", headers={"Content-Type": "text/plain"}),
            server.post("/feedback", "x" * 65 * 1024),
            server.get("/feedback"),
            server.request("PUT", "/feedback", {}),
        ]
        assert [answer.status for answer in refused] == [404, 422, 415, 413, 422, 405]
        server.get("/feedback?message_id=another", headers={"X-Transaction": "name"})
        server.stop()  # an agent that ends sends all it has
    assert collector.metrics()["WebTransaction/Function/the app's own"] == 1
    assert collector.metrics()[TRANSACTIONS] == 2 + len(refused)
    viewed = 2 + len(refused)  # of a PUT no view is told
    assert collector.metrics()[SEGMENT] == 2 * viewed  # once alone, and once in its transaction
    assert ERRORS not in collector.metrics()


def test_an_outage_of_the_store_is_an_error_of_the_app(
    collector: Collector, chat_server: StartServer
) -> None:
    with chat_server(store_url="redis://127.0.0.1:1/0") as server:
        assert rate(server, "never made").status == 503
        server.stop()
    assert collector.metrics()[ERRORS] == 1
