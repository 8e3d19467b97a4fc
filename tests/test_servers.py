"""A server that is stopped, by whatever it does with its agent: what it had accepted arrives."""

from __future__ import annotations

import pytest
from app_servers import SERVERS, AppServer
from arrival import assert_all_arrive, chat_and_vote
from collector import Collector


@pytest.mark.parametrize("name", SERVERS)
def test_votes_that_a_stopped_server_did_not_send_arrive_after_the_next_start(
    collector: Collector, chat_server, new_store_url, tmp_path, name: str
) -> None:
    """New Relic takes nothing while it runs, and not what its agent may send at the very end."""
    store_url = new_store_url("sqlite")
    environ = collector.environ() | {"FLASK_FEEDBACK_STORE_URL": store_url}
    with (
        collector.failing("custom_event_data", 503),
        AppServer(name, tmp_path, environ) as server,
    ):
        taken = chat_and_vote(server)
        server.stop()
    with chat_server(store_url=store_url):
        assert assert_all_arrive(collector, taken) == 0
