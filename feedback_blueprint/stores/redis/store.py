"""Messages and votes in Redis or Valkey, on one server or several.

The hot paths call `execute_command`, which is `QuickClient`'s if a URL names one server. With
redis-py's own, and its methods for each command, which the agent traces, a chat takes a seventh
longer.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter
from typing import Any, TypeVar, cast

import redis
from redis.exceptions import NoScriptError

from ...errors import ConfigurationError, StoreUnavailable
from ...model import (
    DEFAULT_VOTE_TTL,
    Backlog,
    Finding,
    Mark,
    Message,
    Status,
    StoredMessage,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)
from ..base import OLDEST_AMONG, of_newer_version
from ..deadline import DEADLINE
from .checks import check_server
from .cluster import group_by_node, node_name, outbox_key_beside, outbox_keys
from .connections import Cached
from .errors import FAILURES, translating_errors, unavailable
from .layout import (
    HASHES,
    NEWER,
    SCRIPTS,
    TIME,
    is_newer,
    mark_of,
    member_of,
    pack_message,
    pack_time,
    pattern_of,
    unpack_export,
    unpack_message,
    unpack_older,
    unpack_time,
    unpack_vote,
    unpack_vote_result,
)
from .urls import Client, client_from_url, is_cluster, location_of_client, location_of_url

T = TypeVar("T")

MESSAGES_PER_SCRIPT = 1000
"""One script takes marks off so many messages at most: Redis serves nobody else meanwhile."""

KEYS_PER_SCAN = 1000
"""Keys to ask for, and to look at, at once: a server serves nobody else meanwhile."""


class RedisStore:
    """A store on a `redis.Redis` or `redis.RedisCluster` client, which must not decode responses.

    Give a client of your own to share its connections: `FeedbackBlueprint(store=RedisStore(...))`.
    Its timeouts and retries are then yours to bound; a URL sets them.
    """

    def __init__(self, client: Client) -> None:
        if not isinstance(client, Client):  # pyright: ignore[reportUnnecessaryIsInstance]  # apps without types
            raise ConfigurationError(
                f"RedisStore cannot use a {type(client).__module__}.{type(client).__name__}. "
                "Give it a redis.Redis or redis.RedisCluster, or a URL to RedisStore.from_url()."
            )
        if client.get_encoder().decode_responses:
            raise ConfigurationError(
                "RedisStore cannot use a client with decode_responses=True: "
                "what it keeps is bytes. Give it a client without."
            )
        self._cached_client = Cached(lambda: client, math.inf)
        self._is_cluster = isinstance(client, redis.RedisCluster)
        self._location = location_of_client(client)

    @classmethod
    def from_url(cls, url: str, timeout: float) -> RedisStore:
        """Make a store that waits `timeout` seconds, twice; it connects when first used.

        Raises `ValueError` for a URL that cannot work.
        """
        store = cls.__new__(cls)  # __init__ takes a client, and a cluster's would connect at once
        store._cached_client = Cached(client_from_url(url, timeout), math.inf)
        store._is_cluster = is_cluster(url)
        store._location = location_of_url(url)
        return store

    def location(self) -> str:
        """Return where the messages are, as a URL."""
        return self._location

    @property
    def _client(self) -> Any:
        return self._cached_client.get()

    def node_of(self, key: str) -> str:
        """Return the node that keeps `key`, if that is known without I/O."""
        if self._is_cluster and isinstance(self._cached_client.value, redis.RedisCluster):
            with suppress(*FAILURES):
                return node_name(self._cached_client.value, key)
        return ""

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message; if the same one is there already, redis-py sent it twice."""
        head, rest, *texts = pack_message(message)
        milliseconds = _milliseconds(ttl)
        if texts or may_replace:
            text = (b"c", *texts) if texts else (b"", b"")
            if self._run("stash", [key], milliseconds, head, rest, *text, *may_replace) == 1:
                return True
        else:
            with translating_errors:
                if self._client.execute_command("SET", key, head + rest, "PX", milliseconds, "NX"):
                    return True
        return bool(self._run("peek", [key]) == head + rest)

    def remove(self, key: str) -> None:
        """Remove a message; its votes are in it."""
        with translating_errors:
            self._client.execute_command("DEL", key)

    def export(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[StoredMessage]]]:
        """Scan the keys of each server, and ask a script for what is the rater's."""
        exported: set[str] = set()
        is_any_newer = False
        for some in self._scan(prefix):
            keys = list(dict.fromkeys(key for key in some if is_ours(key) and key not in exported))
            replies = self._run_for_each("export", keys, *raters)
            is_any_newer = is_any_newer or NEWER in replies.values()
            known = [key for key in keys if replies[key] != NEWER]
            found = [each for key in known for each in _stored_messages(key, replies[key])]
            exported.update(each.key for each in found)  # a scan may find a key twice
            yield len(keys), found
        if is_any_newer:  # at the end, so that the caller has all that we can read
            raise of_newer_version("Redis: a message")

    def forget(
        self, keys: Iterable[str], raters: Sequence[bytes] | None = None, outboxes: str = ""
    ) -> Iterator[Sequence[StoredMessage]]:
        """Remove with one script, which also takes the marks out of the outboxes of its server.

        In a cluster a second call takes them out.
        """
        names = list(itertools.chain(*self._scan(outboxes, "zset"))) if outboxes else []
        for key in keys:
            both = [key] if self._is_cluster else [key, *names]
            # If the reply is lost, redis-py runs the script again, and the second reply is empty.
            before = _stored_messages(key, self._run("export", [key], *(raters or ())))
            found = _stored_messages(key, self._run("forget", both, *(raters or ()))) or before
            marks = [
                Mark("", key, vote.voter, vote.cast_at)
                for each in found
                for vote in each.votes
                if vote.is_undelivered
            ]
            yield found
            if marks and self._is_cluster:
                self._on_each_node(names, str, functools.partial(self._remove_members, marks))

    def _remove_members(self, marks: Sequence[Mark], outboxes: Sequence[str]) -> None:
        pipeline: Any = self._client.pipeline(transaction=False)
        members = [member_of(mark) for mark in marks]
        for name in outboxes:
            pipeline.execute_command("ZREM", name, *members)
        pipeline.execute()

    def _scan(self, prefix: str, kind: str | None = None) -> Iterator[Sequence[str]]:
        """Yield all keys of each server that begin with `prefix`, a thousand at a time."""
        with translating_errors:
            keys: Iterator[bytes] = self._client.scan_iter(pattern_of(prefix), KEYS_PER_SCAN, kind)
        while True:
            with translating_errors:
                some = list(itertools.islice(keys, KEYS_PER_SCAN))
            if not some:
                return
            yield [key.decode(errors="replace") for key in some]  # ours can all be decoded

    def clean_up(self) -> None:
        """Do nothing: Redis itself removes what has expired."""

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message, with or without votes."""
        self._run("amend", [key], *pack_message(message))

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Cast a vote in one script, which also puts its mark into the outbox of a single server.

        In a cluster the vote bears its mark, and a second call puts the mark into an outbox. If
        that fails, the vote is not acknowledged, and the browser sends it again.
        """
        outbox, lease = vote_request.outbox, int(vote_request.lease * 1000)
        ttl = _milliseconds(vote_request.ttl)
        limits = vote_request.max_revisions, "" if outbox is None else lease, ttl
        keys = [key] if outbox is None or self._is_cluster else [key, outbox]
        reply = self._run("vote", keys, vote_request.vote, *limits, *raters)
        if reply is None:
            return VoteResult("unknown")
        if reply == NEWER:
            raise of_newer_version("Redis: a message")
        said, revision, cast_at, voter, message = unpack_vote_result(reply)
        mark = None
        if message and outbox and cast_at:
            mark = Mark(outbox, key, voter, cast_at)
            if self._is_cluster:
                with translating_errors:
                    mark = mark._replace(outbox=outbox_key_beside(self._client, outbox, key))
                self._add_to_outbox(mark, lease)
            if said == "unchanged" and DEADLINE.get().has_timed_out:
                said = "accepted"  # the first attempt cast it, and its answer did not come in time
        return VoteResult(cast("Status", said), revision, message, cast_at, mark, voter)

    def _add_to_outbox(self, mark: Mark, lease: int) -> None:
        """Put a mark into its outbox, with a lease in milliseconds."""
        with translating_errors:
            member = member_of(mark)
            self._client.execute_command("ZADD", mark.outbox, "NX", mark.cast_at + lease, member)

    def take(
        self,
        outbox: str,
        lease: float,
        limit: int,
        *,
        renew: Sequence[Mark] = (),
        release: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Ask each server for marks once, and then for the votes, if there are any."""
        marks: list[Mark] = []
        names = self._outbox_keys(outbox)
        share = math.ceil(limit / len(names))

        def take_from(outboxes: Sequence[str]) -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            for name in outboxes:
                renewed = [member_of(mark) for mark in renew if mark.outbox == name]
                released = [member_of(mark) for mark in release if mark.outbox == name]
                leases = int(lease * 1000), share, len(renewed), *renewed, *released
                pipeline.execute_command(
                    "EVAL", SCRIPTS["take"], 1, name, *leases, **self._target(name)
                )
            for name, members in zip(outboxes, pipeline.execute(), strict=True):
                marks.extend(mark_of(name, member) for member in members)

        try:
            self._on_each_node(names, str, take_from)
        except StoreUnavailable:
            if not marks:  # we have the leases of the marks from other nodes, so we go on
                raise
        return self._undelivered_votes(marks, int(lease * 1000))

    def _outbox_keys(self, outbox: str) -> Sequence[str]:
        return outbox_keys(outbox) if self._is_cluster else [outbox]

    def _on_each_node(
        self, items: Sequence[T], key_of: Callable[[T], str], call: Callable[[Sequence[T]], None]
    ) -> None:
        """Call for the items of each node; if a node fails, raise after the calls for the others.

        We first ask each node of a cluster something small. If it does not answer, redis-py would
        try each command of a pipeline again alone, for a timeout or two each.
        """
        if not items:
            return
        with translating_errors:
            if not self._is_cluster:
                call(items)
                return
            failed: Exception | None = None
            for some in group_by_node(self._client, items, key_of):
                try:
                    self._client.execute_command("EXISTS", key_of(some[0]))
                    call(some)
                except FAILURES as error:
                    failed = error
            if failed is not None:
                raise failed

    def _target(self, key: str) -> dict[str, Any]:
        """Name a key's node to a pipeline: redis-py would ask a server which keys a script has."""
        return {"target_nodes": self._client.get_node_from_key(key)} if self._is_cluster else {}

    def _undelivered_votes(self, marks: Sequence[Mark], lease: int) -> list[Undelivered]:
        """Read the votes that the marks stand for; take off the marks that stand for none.

        Their votes were delivered or replaced. Leave a message that a newer version of this package
        wrote to that version.
        """
        with translating_errors:
            pipeline: Any = self._client.pipeline(transaction=False)
            for _, key, voter, cast_at in marks:
                older = b"o" + pack_time(cast_at) + voter
                pipeline.hmget(key, "m", "x", b"v" + voter, b"p" + voter, older, "f")
            replies = pipeline.execute(raise_on_error=False)
        taken, stale, is_any_newer = [], [], False
        for mark, reply in zip(marks, replies, strict=True):
            if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                raise unavailable(reply)
            # A message that nobody rated is of another type: somebody used the ID again.
            fields: Any = (None,) * 6 if isinstance(reply, Exception) else reply
            head, rest, vote, marked, older, is_replaced = fields
            message = unpack_message(head[:-TIME] + (rest or b"")) if head else None
            if head and is_newer(head):
                is_any_newer = True
            elif found := _undelivered(mark, message, vote, marked, older):
                taken.append(found)
            else:
                stale.append(mark)
                if self._is_cluster:
                    self._add_newer_to_outbox(mark, marked, is_replaced, lease)
        if stale:
            self.unmark(stale)
        if is_any_newer and not taken:  # else the caller has something to deliver first
            raise of_newer_version("Redis: a message")
        return taken

    def _add_newer_to_outbox(
        self, mark: Mark, marked: bytes | None, is_replaced: bytes | None, lease: int
    ) -> None:
        """Put in the rater's newer marks: a process that ended too early may have left one out."""
        times = [] if marked is None else [marked]
        if is_replaced:
            with translating_errors:
                names = self._client.hkeys(mark.key)
            older = [name[1:] for name in names if name.startswith(b"o")]
            times += [name[:TIME] for name in older if name[TIME:] == mark.voter]
        for cast_at in map(unpack_time, times):
            if cast_at > mark.cast_at:
                self._add_to_outbox(mark._replace(cast_at=cast_at), lease)

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take marks off the votes and out of the outboxes, all of a server at once."""
        self._on_each_node(marks, attrgetter("outbox"), self._unmark)

    def _unmark(self, marks: Sequence[Mark]) -> None:
        pipeline: Any = self._client.pipeline(transaction=False)
        together = 1 if self._is_cluster else MESSAGES_PER_SCRIPT
        for first in range(0, len(marks), together):
            some = marks[first : first + together]
            keys = [mark.key for mark in some]
            values = [value for mark in some for value in (mark.voter, pack_time(mark.cast_at))]
            what = SCRIPTS["unmark"], len(keys), *keys, *values
            pipeline.execute_command("EVAL", *what, **self._target(keys[0]))
        for outbox in {mark.outbox for mark in marks}:
            members = [member_of(mark) for mark in marks if mark.outbox == outbox]
            pipeline.execute_command("ZREM", outbox, *members)
        pipeline.execute()

    def backlog(self, outbox: str) -> Backlog:
        """Count the members, and look at the first of each sorted set."""
        names = self._outbox_keys(outbox)
        with translating_errors:
            pipeline: Any = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.zcard(name)
                pipeline.zrange(name, 0, OLDEST_AMONG - 1)
            replies = pipeline.execute()
        times = [mark_of("", member).cast_at for members in replies[1::2] for member in members]
        return Backlog(sum(replies[::2]), min(times, default=None))

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value in a sorted set, by its time."""
        return list(self._run("announce", [key], value))

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Ask for all at once; a stranger's message is as good as none.

        That is one round trip, but two to each node of a cluster: see `_on_each_node`.
        """
        replies = self._run_for_each("read", keys, _milliseconds(ttl), *raters)
        return [_stored_vote(replies[key]) for key in keys]

    def show(self, key: str) -> StoredMessage | None:
        """Read all that is kept of one message."""
        return next(iter(_stored_messages(key, self._run("export", [key]))), None)

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:  # noqa: ARG002  # `full` is for what takes long
        """Look at each server that keeps messages."""
        with translating_errors:
            client: Any = self._client
            nodes: list[Any] = client.get_primaries() if self._is_cluster else [None]
            return [each for node in nodes for each in check_server(client, prefix, node)]

    def _run(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script by its hash, which Redis may have forgotten."""
        both = len(keys), *keys, *arguments
        with translating_errors:
            try:
                return self._client.execute_command("EVALSHA", HASHES[name], *both)
            except NoScriptError:
                return self._client.eval(SCRIPTS[name], *both)

    def _run_for_each(self, name: str, keys: Sequence[str], *arguments: Any) -> dict[str, Any]:
        """Run a script for each key, for all of a server at once; return the replies by key.

        The first call tells the server the script. In a cluster each call does, because redis-py
        may send it again, to another node.
        """
        replies: dict[str, Any] = {}

        def run(some: Sequence[str]) -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            script, target = ("EVAL", SCRIPTS[name]), self._target(some[0])
            for key in some:
                pipeline.execute_command(*script, 1, key, *arguments, **target)
                script = script if self._is_cluster else ("EVALSHA", HASHES[name])
            replies.update(zip(some, pipeline.execute(), strict=True))

        self._on_each_node(keys, str, run)
        return replies


def _undelivered(
    mark: Mark,
    message: Message | None,
    vote: bytes,
    marked: bytes | None,
    older: bytes | None,
) -> Undelivered | None:
    """Return the vote that bears a mark; `None` if it was delivered, or a newer one replaced it."""
    if message is None:
        return Undelivered(mark)
    if marked == pack_time(mark.cast_at):
        return Undelivered(mark, message, *unpack_vote(vote[TIME:]))
    return Undelivered(mark, *unpack_older(older)) if older else None


def _stored_messages(key: str, reply: Any) -> list[StoredMessage]:
    if reply == NEWER:
        raise of_newer_version("Redis: a message")
    return unpack_export(key, reply, time.time()) if reply else []


def _stored_vote(reply: Any) -> StoredVote | None:
    """Return a message as one rater sees it, with the rater's vote."""
    if reply is None or reply == NEWER:
        return None
    head_and_rest, vote, voter = reply
    message = unpack_message(head_and_rest)
    if message is None or vote is None:
        return message and StoredVote(message)
    return StoredVote(message, *unpack_vote(vote), voter=voter)


def _milliseconds(ttl: timedelta) -> int:
    return int(ttl.total_seconds() * 1000)
