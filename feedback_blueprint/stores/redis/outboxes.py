"""Where the outboxes lie: one on a server, several in a cluster.

A vote in a cluster must need no other node than that of its message. So an outbox is several sorted
sets there, whose slots are spread evenly, and a vote goes into one on the node of its message.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from redis import RedisCluster
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

T = TypeVar("T")

SPREAD = 64
"""Sorted sets of one outbox in a cluster: a node with an even share has one, up to 64 nodes."""

WIDTH = REDIS_CLUSTER_HASH_SLOTS // SPREAD
"""Slots for each of them."""


@functools.cache
def tags() -> list[str]:
    """Return a hash tag for each range of slots, in their order."""
    found: dict[int, str] = {}
    numbers = itertools.count()
    while len(found) < SPREAD:
        tag = str(next(numbers))
        found.setdefault(key_slot(tag.encode()) // WIDTH, tag)
    return [found[place] for place in range(SPREAD)]


def shares(is_cluster: bool, outbox: str, limit: int) -> list[tuple[str, int]]:
    """Return the keys of an outbox, and how many votes to take of each to take `limit`, or more."""
    if not is_cluster:
        return [(outbox, limit)]
    share = math.ceil(limit / SPREAD)
    return [(f"{outbox}:{{{tag}}}", share) for tag in tags()]


def by_node(client: Any, items: Sequence[T], key_of: Callable[[T], str]) -> list[list[T]]:
    """Group items by the node that keeps their key: one that is down keeps back no other."""
    if not isinstance(client, RedisCluster):
        return [list(items)]
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(node_of(client, key_of(item)), []).append(item)
    return list(groups.values())


def near(client: RedisCluster, outbox: str, key: str) -> str:
    """Return the key of an outbox on the node of a message, or else one near it."""
    place = client.keyslot(key) // WIDTH
    node = node_of(client, key)
    for tag in (tags()[place], *tags()):
        name = f"{outbox}:{{{tag}}}"
        if node_of(client, name) == node:
            return name
    return f"{outbox}:{{{tags()[place]}}}"


def node_of(client: RedisCluster, key: str) -> str:
    """Return the name of the node that keeps a key, without asking; raises what redis-py does."""
    node: Any = client.get_node_from_key(key)
    return str(node.name)
