"""A Redis Cluster: its client, and where the outboxes lie in it.

A vote in a cluster must need no other node than that of its message. So an outbox is 64 sorted sets
there. Their slots are spread evenly, and a vote goes into one on the node of its message.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from redis.cluster import ClusterNode
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from .connections import BadURL, bounded, hosts_and_options, limits_of, refuse_unusable

T = TypeVar("T")

CLIENT_OPTIONS = ("dynamic_startup_nodes", "read_from_replicas", "reinitialize_steps")
"""Options of a URL that are for the client, not for its connections."""

SETS_PER_OUTBOX = 64
"""A node with an even share of the slots has one, in a cluster of up to 64 nodes."""

SLOTS_PER_SET = REDIS_CLUSTER_HASH_SLOTS // SETS_PER_OUTBOX


def cluster_from_url(url: str, timeout: float) -> Callable[[], redis.RedisCluster]:
    """Return what makes the client of a `redis+cluster://` URL; that connects at once."""
    hosts, options = hosts_and_options(url, 6379)
    options = limits_of(timeout) | options
    if options.pop("db", 0) or urlsplit(url).path.strip("/") not in ("", "0"):
        raise BadURL("a cluster has one database, 0")
    refuse_unusable(options, CLIENT_OPTIONS)
    kind = bounded(redis.SSLConnection if options.pop("ssl", False) else redis.Connection)
    (host, port), *others = hosts
    # redis-py lets us choose the kind of connections only if we give it a URL.
    first = f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
    return lambda: redis.RedisCluster(
        url=first,
        startup_nodes=[ClusterNode(*other) for other in others],
        require_full_coverage=False,
        connection_class=kind,
        **options,
    )


def node_name(client: redis.RedisCluster, key: str) -> str:
    """Return the name of the node that keeps a key, without I/O; raises what redis-py does."""
    node: Any = client.get_node_from_key(key)
    return str(node.name)


def group_by_node(
    client: redis.RedisCluster, items: Sequence[T], key_of: Callable[[T], str]
) -> list[list[T]]:
    """Group items by the node that keeps their key."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(node_name(client, key_of(item)), []).append(item)
    return list(groups.values())


@functools.cache
def outbox_keys(outbox: str) -> Sequence[str]:
    """Return the keys of an outbox's sorted sets, in the order of their slots."""
    tags: dict[int, int] = {}
    numbers = itertools.count()
    while len(tags) < SETS_PER_OUTBOX:
        tag = next(numbers)
        tags.setdefault(key_slot(b"%d" % tag) // SLOTS_PER_SET, tag)
    return [f"{outbox}:{{{tag}}}" for _, tag in sorted(tags.items())]


def outbox_key_beside(client: redis.RedisCluster, outbox: str, key: str) -> str:
    """Return the key of the outbox's set on a message's node; if there is none, the nearest one."""
    keys = outbox_keys(outbox)
    nearest: str = keys[client.keyslot(key) // SLOTS_PER_SET]
    node = node_name(client, key)
    beside = (each for each in (nearest, *keys) if node_name(client, each) == node)
    return next(beside, nearest)
