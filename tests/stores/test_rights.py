"""A user of Redis that may do what a remedy says, and nothing else."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from outage import PASSWORD, TIMEOUT, Chat, with_password

from feedback_blueprint.model import ANYONE, Message, VoteRequest
from feedback_blueprint.stores import RedisStore
from feedback_blueprint.stores.redis.errors import RIGHTS
from feedback_blueprint.testing import capture_feedback


@pytest.mark.parametrize("kind", ["site", "cluster"])
def test_with_the_rights_that_a_remedy_names_all_works(
    request: pytest.FixtureRequest, kind: str
) -> None:
    running: Any = request.getfixturevalue(kind)
    servers = [running.server] if kind == "site" else running.nodes
    granted = re.findall(r"\+[@a-z|]+", RIGHTS)
    for server in servers:
        server.ask("ACL", "SETUSER", "app", "reset", "on", f">{PASSWORD}", "~fb:*", *granted)
    chat = Chat(running.url if kind == "site" else with_password(running.url))
    with capture_feedback(chat.app):
        for _ in range(10):  # on each node of a cluster
            message_id = chat.chat()
            assert message_id
            assert chat.rate(message_id) == 202
        query = {"message_id": message_id}
        assert chat.client.get("/feedback", query_string=query).json["rateable"] == [message_id]
        assert chat.client.delete("/feedback", query_string=query).status_code == 202
        found = chat.app.test_cli_runner().invoke(args=["feedback", "check", "--json"]).output
        store = next(each for each in json.loads(found) if each["what"] == "store")
        assert store["severity"] == "well", store
        assert "no permissions" not in found
        forgotten = chat.app.test_cli_runner().invoke(
            args=["feedback", "forget", "--message", message_id]
        )
        assert (forgotten.exit_code, message_id in forgotten.stdout) == (0, True), forgotten.output
    store = RedisStore.from_url(chat.app.config["FEEDBACK_STORE_URL"], TIMEOUT)
    store.stash("fb:m", Message("t"), timedelta(days=1))
    mark = store.vote("fb:m", [ANYONE], VoteRequest(b"[1]", 20, "fb:!outbox:tests")).mark
    assert [each.mark for each in store.take("fb:!outbox:tests", 60, 10)] == [mark]
    store.unmark([mark])
    assert store.backlog("fb:!outbox:tests").votes == 0
    assert sum(number for number, _ in store.export("fb:", lambda _: True, [b"a" * 16])) > 9
