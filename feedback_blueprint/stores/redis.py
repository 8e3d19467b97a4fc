"""Messages and votes in Redis or Valkey, on one server or several.

The hot paths call `execute_command`: the agent traces each of redis-py's other methods, which costs
a tenth of a whole chat request, to tell the app's owner about calls that are not the app's.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import redis
from redis.exceptions import NoScriptError, ResponseError

from ..errors import ConfigurationError
from ..findings import Finding
from .base import Ballot, Confirmation, Message, Outcome, Shown, Standing, Status
from .redis_client import Client, Shared, client_from_url
from .redis_errors import FAILURES, unavailable
from .redis_layout import AMEND, CONFIRM, VOTE, decode, encode


class RedisStore:
    """A store on a `redis.Redis` or `redis.RedisCluster` client, which must not decode responses.

    Give a client of your own to share its connections: `FeedbackBlueprint(store=RedisStore(...))`.
    Its timeouts and retries are then yours to bound; a URL sets them.
    """

    def __init__(self, client: Client | Callable[[], Client]) -> None:
        if isinstance(client, Client):
            if client.get_encoder().decode_responses:
                raise ConfigurationError(
                    "RedisStore cannot use a client with decode_responses=True: "
                    "what it keeps is bytes. Give it a client without."
                )
            self._shared = Shared(lambda: client, math.inf)
        elif not callable(client):
            raise ConfigurationError(
                f"RedisStore cannot use a {type(client).__module__}.{type(client).__name__}. "
                "Give it a redis.Redis or redis.RedisCluster, or a URL to RedisStore.from_url()."
            )
        else:
            self._shared = Shared(client, math.inf)  # a cluster's client connects when it is made

    @classmethod
    def from_url(cls, url: str, timeout: float) -> RedisStore:
        """Make a store that waits `timeout` seconds, twice; it connects when first used.

        Raises `ValueError` for a URL that cannot work.
        """
        return cls(client_from_url(url, timeout))

    @property
    def _client(self) -> Any:
        return self._shared.get()

    def part_of(self, key: str) -> str:
        """Return the node that keeps `key`, as far as is known without asking."""
        client = self._shared.made
        if isinstance(client, redis.RedisCluster):
            with suppress(*FAILURES):
                node: Any = client.get_node_from_key(key)
                return str(node.name)
        return ""

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message; one already kept whole is our own, sent twice."""
        value, milliseconds = encode(message), int(ttl.total_seconds() * 1000)
        with ERRORS:
            if self._client.execute_command("SET", key, value, "PX", milliseconds, "NX"):
                return True
            try:
                return bool(self._client.get(key) == value)
            except ResponseError as error:
                if "WRONGTYPE" not in str(error):
                    raise
                return False  # a hash: it has been rated, so it is not new

    def amend(self, key: str, message: Message) -> None:
        """Replace a message, with or without votes."""
        self._run(AMEND, key, encode(message))

    def vote(self, key: str, raters: Sequence[bytes], ballot: Ballot) -> Outcome:
        """Cast a vote in one script."""
        reply = self._run(VOTE, key, *ballot, *raters)
        if reply is None:
            return Outcome("unknown")
        status, revision, message = reply.split(b" ", 2)
        attempt, said = b"", cast("Status", status.decode())
        if said == "pending":
            length = len(ballot.attempt)
            attempt, message = message[:length], message[length:]
        return Outcome(said, int(revision), decode(message), attempt)

    def confirm(self, confirmations: Sequence[Confirmation]) -> None:
        """Note that votes were recorded, in one round trip."""
        with ERRORS:
            pipeline: Any = self._client.pipeline(transaction=False)
            for key, voter, attempt in confirmations:
                pipeline.execute_command("EVAL", CONFIRM, 1, key, b"p" + voter, attempt)
            pipeline.execute()

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Ask for each key both ways, as a string and as a hash: it is one of them, or neither."""
        fields = [kind + rater for rater in raters for kind in (b"v", b"p")]
        with ERRORS:
            pipeline: Any = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
                pipeline.hmget(key, "m", *fields)
            replies = pipeline.execute(raise_on_error=False)
            for reply in replies:
                if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                    raise reply
        standings = []
        for value, values in zip(replies[::2], replies[1::2], strict=True):
            if isinstance(values, Exception):
                standings.append(_standing(value, {}, raters))
            else:
                held = dict(zip(fields, values[1:], strict=True))
                standings.append(_standing(values[0], held, raters))
        return standings

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message."""
        with ERRORS:
            client: Any = self._client
            kind, fields = client.type(key), {}
            if kind == b"hash":
                fields = client.hgetall(key)
            elif kind == b"string":
                fields = {b"m": client.get(key)}
            expires_in = client.pttl(key) / 1000
        message = decode(fields.get(b"m") or b"")
        if message is None:
            return None
        votes = {}
        for name, value in fields.items():
            if name.startswith(b"v"):
                revision, vote = value.split(b" ", 1)
                pending = b"p" + name[1:] in fields
                votes[name[1:]] = Standing(message, int(revision), vote, pending)
        return Shown(message, expires_in, votes)

    def inspect(self) -> list[Finding]:
        """Look at what each server does when its memory is full, and when it is restarted."""
        with ERRORS:
            client: Any = self._client
            if isinstance(client, redis.RedisCluster):
                infos = [
                    client.info(target_nodes=node) | {"name": f" {node.name}"}
                    for node in client.get_primaries()
                ]
            else:
                infos = [client.info() | {"name": ""}]
        return [finding for info in infos for finding in _findings(info)]

    def _run(self, script: str, key: str, *arguments: Any) -> Any:
        """Run a script by its hash, which Redis may have forgotten."""
        with ERRORS:
            try:
                return self._client.execute_command("EVALSHA", HASHES[script], 1, key, *arguments)
            except NoScriptError:
                return self._client.eval(script, 1, key, *arguments)


class _Errors:
    """Turns everything that redis-py raises in a `with` block into our own error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FAILURES):
            raise unavailable(error) from error


ERRORS = _Errors()
"""One for all, as each vote and each message passes through it."""


HASHES = {script: hashlib.sha1(script.encode()).hexdigest() for script in (VOTE, AMEND)}  # noqa: S324  # EVALSHA names a script so


def _findings(info: Mapping[str, Any]) -> list[Finding]:
    """Judge what `INFO` says of one server."""
    name, policy, limit = info["name"], info.get("maxmemory_policy"), info.get("maxmemory", 0)
    memory = f"{limit:,} bytes, {policy}" if limit else f"no limit, {policy}"
    persistence = "append-only file" if info.get("aof_enabled") else "snapshots at best"
    return [
        Finding(f"Redis{name}", True, f"version {info.get('redis_version')}"),
        Finding(
            f"memory limit and eviction{name}",
            bool(limit) and policy == "volatile-ttl",
            memory,
            "Set maxmemory, and maxmemory-policy volatile-ttl: the oldest messages go first.",
        ),
        Finding(
            f"persistence{name}",
            bool(info.get("aof_enabled")),
            persistence,
            "Set appendonly yes: else a restart forgets the last messages.",
        ),
    ]


def _standing(
    value: object, held: Mapping[bytes, bytes | None], raters: Sequence[bytes]
) -> Standing | None:
    """Tell what one rater sees of a message, and of the vote kept with it."""
    message = decode(value) if isinstance(value, bytes) else None
    voter = message.voter(raters) if message else None
    if message is None or voter is None:
        return None
    vote = held.get(b"v" + voter)
    if vote is None:
        return Standing(message)
    revision, vote = vote.split(b" ", 1)
    return Standing(message, int(revision), vote, held[b"p" + voter] is not None)
