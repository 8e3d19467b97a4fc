"""A Redis in protected mode says so and leaves: the log names it, as far as it can be seen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from contract import store_at
from needed import needed
from redis_server import RedisServer

from feedback_blueprint.errors import StoreUnavailable


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where such a server takes this machine for another one."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # which sends nothing
        except OSError:
            pytest.skip("this machine has no address but its own")
        host = probe.getsockname()[0]
    directory = tmp_path_factory.mktemp("redis")
    with needed(), RedisServer(directory, bind="0.0.0.0", protected_mode="yes") as server:
        yield f"{host}:{server.port}"


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("redis://app:secret@{}/0", "It refuses other hosts, because it is in protected mode"),
        ("redis://{}/0", "in protected mode: give it a password (requirepass), and put that into"),
        ("redis+cluster://{}", "in protected mode: give it a password (requirepass)"),
        ("redis+sentinel://{}/service", "in protected mode: give it a password (requirepass)"),
    ],
)
def test_protected_mode_is_named(address: str, url: str, remedy: str) -> None:
    store = store_at(url.format(address))
    with pytest.raises(StoreUnavailable) as refused:
        store.read(["m"], [b""])
    assert remedy in refused.value.remedy
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 700, "such a server says a page"
