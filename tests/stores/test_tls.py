"""TLS to each kind of Redis, if it works and if it does not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from certificates import Certificate
from needed import needed
from outage import Chat, Site, suffer, with_password
from proxy import Proxy
from redis_cluster import RedisCluster
from redis_sentinel import RedisSentinel
from redis_server import RedisServer

from feedback_blueprint.testing import capture_feedback


def test_tls_to_a_plain_port_costs_no_answer(
    site: Site, secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    with Proxy(secure.port) as proxy:
        url = with_password(secure.url).replace(str(secure.port), str(proxy.port))
        suffer(Chat(url), proxy.to(site.server.port), complaints, "TLS")


def test_no_tls_to_a_port_that_wants_it_costs_no_answer(
    site: Site, secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    suffer(Chat(site.url), site.proxy.to(secure.port), complaints, "TLS")


def test_a_certificate_of_an_unknown_authority_is_refused(
    secure: RedisServer, complaints: Callable[[], list[str]]
) -> None:
    chat = Chat(with_password(secure.url.partition("?")[0]))
    with capture_feedback(chat.app):
        assert [chat.chat() for _ in range(3)] == [None] * 3
        assert chat.rate("any") == 503
    assert len(complaints()) == 1
    assert "Name the file of the authority that signed its certificate" in complaints()[0]
    assert "ssl_ca_certs=" in complaints()[0]


@pytest.mark.parametrize("kind", ["server", "cluster", "sentinel"])
def test_each_kind_of_redis_works_over_tls(
    kind: str, certificate: Certificate, tmp_path: Path
) -> None:
    with ExitStack() as stack, needed():
        if kind == "server":
            url = stack.enter_context(RedisServer(tmp_path, tls=certificate)).url
        elif kind == "cluster":
            url = stack.enter_context(RedisCluster(tmp_path, size=1, tls=certificate)).url
        else:
            url = stack.enter_context(RedisSentinel(tmp_path, sentinels=1, tls=certificate)).url
        chat = Chat(url)
        with capture_feedback(chat.app) as events:
            message_id = chat.chat()
            assert message_id
            assert chat.rate(message_id) == 202
            assert [event["message_id"] for event in events] == [message_id]
