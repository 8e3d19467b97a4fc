"""What a check of Redis finds: on a server, and on each node of a cluster."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from outage import TIMEOUT, Site
from redis_cluster import RedisCluster

from feedback_blueprint.stores import RedisStore


@pytest.mark.parametrize(
    ("setting", "back", "seen"),
    [
        ("maxmemory 64mb", "maxmemory 0", "67,108,864 bytes, noeviction"),
        (
            "maxmemory-policy volatile-ttl",
            "maxmemory-policy noeviction",
            "no limit, volatile-ttl",
        ),
    ],
)
def test_a_memory_limit_needs_a_policy_and_a_policy_a_limit(
    site: Site, setting: str, back: str, seen: str
) -> None:
    store = RedisStore.from_url(site.url, TIMEOUT)
    with site.told(f"CONFIG SET {setting}", f"CONFIG SET {back}"):
        found = {finding.what: finding for finding in store.check()}
    memory, persistence = found["memory limit and eviction"], found["persistence"]
    assert (memory.ok, memory.seen) == (False, seen)
    assert (persistence.ok, persistence.seen) == (True, "append-only file")
    assert "volatile-ttl" in memory.remedy


def test_each_node_of_a_cluster_is_checked_by_itself(cluster: RedisCluster) -> None:
    settings = [("64mb", "volatile-ttl"), ("64mb", "noeviction"), ("0", "volatile-ttl")]
    with ExitStack() as stack:
        for node, (limit, policy) in zip(cluster.nodes, settings, strict=True):
            node.ask("CONFIG", "SET", "maxmemory", limit)
            stack.callback(node.ask, "CONFIG", "SET", "maxmemory", "0")
            node.ask("CONFIG", "SET", "maxmemory-policy", policy)
            stack.callback(node.ask, "CONFIG", "SET", "maxmemory-policy", "noeviction")
        found = RedisStore.from_url(cluster.url, TIMEOUT).check()
    addresses = [node.address for node in cluster.nodes]
    checked = [each.what for each in found if each.what.startswith("Redis")]
    assert checked == [f"Redis {address}" for address in addresses]
    limits = [each for each in found if each.what.startswith("memory limit")]
    assert [each.what.split()[-1] for each in limits if each.ok] == addresses[:1]
