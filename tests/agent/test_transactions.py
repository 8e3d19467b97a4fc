"""What New Relic shows the app's owner of requests to `/feedback`, beside the events."""

from __future__ import annotations

from chatting import made, rate
from collector import Collector
from gunicorn_server import StartServer
from redis_server import RedisServer

SEGMENT = "Function/feedback_blueprint.web.views:feedback"
TRANSACTIONS = f"WebTransaction/{SEGMENT}"
OWN = "WebTransaction/Function/the app's own"


def test_an_outage_of_the_store_is_an_error_of_the_app_and_what_a_caller_does_wrong_is_not(
    collector: Collector, chat_server: StartServer, own_redis: RedisServer
) -> None:
    """Each request is a transaction of one name, or of the app's; the view is a segment of it."""
    with chat_server(store_url=own_redis.url) as server:
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
        own_redis.kill()
        named = {"X-Transaction": "name"}
        assert rate(server, message_id, headers=named).status == 503
        server.stop()  # an agent that ends sends all it has
    told = collector.metrics()
    assert told[TRANSACTIONS] == 2 + len(refused)
    viewed = 2 + len(refused)  # of a PUT no view is told
    assert told[SEGMENT] == 2 * viewed  # once alone, and once in its transaction
    assert told[OWN] == told[f"Errors/{OWN}"] == 1
    assert f"Errors/{TRANSACTIONS}" not in told
