"""What `flask feedback check` says of a Redis or Valkey server that keeps messages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ResponseError

from ...model import Finding
from ..base import of_newer_version
from .layout import is_newer, pattern_of

FULL = 0.75
"""The part of its memory above which a server is nearly full."""

MAX_LAG = 10
"""Seconds of silence after which a replica is behind: it reports once a second."""

SAMPLE = 500
"""Keys whose layout the check looks at."""


def check_server(client: Any, prefix: str, node: Any = None) -> list[Finding]:
    """Look at one server, or at one `node` of a cluster; raises what redis-py does."""
    at, name = ({"target_nodes": node}, f" {node.name}") if node else ({}, "")
    found = [
        *_check_info(client.info(**at)),
        *_check_protection(client, at),
        *_check_layouts(client, prefix, at),
    ]
    return [finding._replace(what=finding.what + name) for finding in found]


def _check_info(info: Mapping[str, Any]) -> list[Finding]:
    """Judge what `INFO` says."""
    policy, limit = str(info.get("maxmemory_policy")), info.get("maxmemory", 0)
    persistence = "append-only file" if info.get("aof_enabled") else "snapshots at best"
    evicts_votes = bool(limit) and policy.startswith("allkeys")
    found = [
        Finding("Redis", True, f"version {info.get('redis_version')}"),
        Finding(
            "memory limit and eviction",
            bool(limit) and policy == "volatile-ttl",
            f"{limit:,} bytes, {policy}" if limit else f"no limit, {policy}",
            "Set maxmemory, and maxmemory-policy volatile-ttl: the oldest messages go first"
            + (", and not the list of undelivered votes." if evicts_votes else "."),
            minor=not evicts_votes,
        ),
        Finding(
            "persistence",
            bool(info.get("aof_enabled")),
            persistence,
            "Set appendonly yes: without it, a restart forgets the last messages.",
            minor=True,
        ),
        _check_replication(info),
    ]
    if limit:
        used = info.get("used_memory", 0) / limit
        remedy = (
            "Raise maxmemory, or shorten the TTL of messages: soon the oldest go before their time."
        )
        left = f"{max(1 - used, 0):.0%}"
        found.append(Finding("memory left", used <= FULL, left, remedy, minor=True))
    return found


def _check_replication(info: Mapping[str, Any]) -> Finding:
    """Judge whether this server takes votes, and whether its replicas keep up."""
    if info.get("role") == "slave":
        seen = f"a replica, whose link to its primary is {info.get('master_link_status')}"
        return Finding(
            "replication", False, seen, "Give the URL of the primary, or of the Sentinels."
        )
    replicas: list[Any] = [each for name, each in info.items() if re.fullmatch(r"slave\d+", name)]
    behind = sum(each["state"] != "online" or each["lag"] > MAX_LAG for each in replicas)
    seen = f"a primary, {len(replicas)} replicas" + (f", {behind} of them behind" if behind else "")
    remedy = "See their logs: a failover to one that is behind would lose votes."
    return Finding("replication", not behind, seen, remedy, minor=True)


def _check_protection(client: Any, at: Mapping[str, Any]) -> list[Finding]:
    """Judge whom the server lets in, if it let us in without a password."""
    options = client.get_connection_kwargs()
    if options.get("password") or options.get("credential_provider"):
        return []
    mode = None
    with suppress(ResponseError):  # a managed server has no CONFIG
        mode = client.config_get("protected-mode", **at).get("protected-mode")
    if mode is None:
        return []
    seen = "on: it refuses other hosts, because it has no password"
    if mode == "no":
        seen = "off, and there is no password"
    remedy = "Give it a password: whoever reaches it can read and change all."
    return [Finding("protected mode", mode != "no", seen, remedy, minor=True)]


def _check_layouts(client: Any, prefix: str, at: Mapping[str, Any]) -> list[Finding]:
    """Look for messages that a newer version of this package wrote, among some."""
    keys: Sequence[bytes] = client.scan(match=pattern_of(prefix), count=SAMPLE, **at)[1]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.getrange(key, 0, 32)
        pipeline.hget(key, "m")
    heads = pipeline.execute(raise_on_error=False) if keys else []
    newer = sum(isinstance(head, bytes) and is_newer(head) for head in heads)
    if not newer:
        return []
    error = of_newer_version(f"{newer} of {len(keys)} messages that were looked at")
    return [Finding("layout", False, error.why, error.remedy)]
