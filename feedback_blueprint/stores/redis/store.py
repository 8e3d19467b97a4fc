"""Messages and votes in Redis or Valkey, on one server or several.

The hot paths call `execute_command`, which for a URL is `QuickClient`'s. With redis-py's own, and
its methods for each command, which the agent traces, a chat takes a sixth longer.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, cast

import redis
from redis.exceptions import NoScriptError

from ...errors import ConfigurationError, StoreUnavailable
from ...findings import Finding
from ...model import (
    DEFAULT_VOTE_TTL,
    Backlog,
    Kept,
    Mark,
    Message,
    Shown,
    Status,
    StoredVote,
    Undelivered,
    VoteRequest,
    VoteResult,
)
from ..base import of_newer_version
from .client import Client, Shared, client_from_url, place_of_client, place_of_url
from .errors import FAILURES, unavailable
from .findings import findings_of
from .layout import (
    NEWER,
    TIME,
    decode,
    is_newer,
    mark_of,
    member_of,
    pack_time,
    parts_of,
    unpack_kept,
    unpack_older,
    unpack_time,
    unpack_vote,
    unpack_vote_result,
)
from .outboxes import by_node, near, node_of, shares
from .scripts import AMEND, ANNOUNCE, FORGET, KEPT, PEEK, READ, STASH, TAKE, UNMARK, VOTE

T = TypeVar("T")


class RedisStore:
    """A store on a `redis.Redis` or `redis.RedisCluster` client, which must not decode responses.

    Give a client of your own to share its connections: `FeedbackBlueprint(store=RedisStore(...))`.
    Its timeouts and retries are then yours to bound; a URL sets them.
    """

    def __init__(self, client: Client | Callable[[], Client]) -> None:
        self._place = "a client of the app's own"
        if isinstance(client, Client):
            if client.get_encoder().decode_responses:
                raise ConfigurationError(
                    "RedisStore cannot use a client with decode_responses=True: "
                    "what it keeps is bytes. Give it a client without."
                )
            self._shared = Shared(lambda: client, math.inf)
            self._place = place_of_client(client)
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
        store = cls(client_from_url(url, timeout))
        store._place = place_of_url(url)
        return store

    def place(self) -> str:
        """Return it as a URL."""
        return self._place

    @property
    def _client(self) -> Any:
        return self._shared.get()

    @property
    def _is_cluster(self) -> bool:
        with ERRORS:
            return isinstance(self._client, redis.RedisCluster)

    def node_of(self, key: str) -> str:
        """Return the node that keeps `key`, as far as is known without asking."""
        client = self._shared.made
        if isinstance(client, redis.RedisCluster):
            with suppress(*FAILURES):
                return node_of(client, key)
        return ""

    def stash(
        self, key: str, message: Message, ttl: timedelta, *, may_replace: Sequence[bytes] = ()
    ) -> bool:
        """Keep a message; one already kept whole is our own, sent twice."""
        head, rest, *texts = parts_of(message)
        milliseconds = _milliseconds(ttl)
        if texts or may_replace:
            text = (b"c", *texts) if texts else (b"", b"")
            if self._run(STASH, [key], milliseconds, head, rest, *text, *may_replace) == 1:
                return True
        else:
            with ERRORS:
                if self._client.execute_command("SET", key, head + rest, "PX", milliseconds, "NX"):
                    return True
        return bool(self._run(PEEK, [key]) == head + rest)

    def remove(self, key: str) -> None:
        """Remove a message; its votes are in it."""
        with ERRORS:
            self._client.execute_command("DEL", key)

    def kept(
        self, prefix: str, is_ours: Callable[[str], bool], raters: Sequence[bytes]
    ) -> Iterator[tuple[int, Sequence[Kept]]]:
        """Scan the keys of each server, and ask for what is the rater's: little of it is sent."""
        replies: dict[str, Any] = {}
        seen: set[str] = set()
        newer = False

        def look_at(keys: Sequence[str]) -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            at = self._at(keys[0]) if keys else {}
            for number, key in enumerate(keys):  # a server knows the script from the first on
                script = ("EVALSHA", HASHES[KEPT]) if number else ("EVAL", KEPT)
                pipeline.execute_command(*script, 1, key, *raters, **at)
            replies.update(zip(keys, pipeline.execute(), strict=True))

        for some in self._scan(prefix):
            keys = list(dict.fromkeys(key for key in some if is_ours(key) and key not in seen))
            self._on_each_node(keys, str, look_at)
            newer = newer or NEWER in replies.values()
            known = [key for key in keys if replies[key] != NEWER]
            found = [each for key in known for each in _kept(key, replies[key])]
            seen.update(each.key for each in found)  # a scan may come by twice
            replies.clear()
            yield len(keys), found
        if newer:  # it is said once what else there is was found
            raise of_newer_version("Redis: a message")

    def forget(
        self, keys: Iterable[str], raters: Sequence[bytes] | None = None, outboxes: str = ""
    ) -> Iterator[Sequence[Kept]]:
        """Remove with one script, which takes the marks out of the outboxes of the same server.

        In a cluster a second call does.
        """
        names = list(itertools.chain(*self._scan(outboxes, "zset"))) if outboxes else []
        for key in keys:
            both = [key] if self._is_cluster else [key, *names]
            # If the answer to FORGET is lost, redis-py sends it again, and then there is nothing.
            before = _kept(key, self._run(KEPT, [key], *(raters or ())))
            found = _kept(key, self._run(FORGET, both, *(raters or ()))) or before
            marks = [
                Mark("", key, vote.voter, vote.cast_at)
                for each in found
                for vote in each.votes
                if vote.is_undelivered
            ]
            yield found
            if marks and self._is_cluster:
                self._on_each_node(names, str, functools.partial(self._take_out, marks))

    def _take_out(self, marks: Sequence[Mark], outboxes: Sequence[str]) -> None:
        pipeline: Any = self._client.pipeline(transaction=False)
        members = [member_of(mark) for mark in marks]
        for name in outboxes:
            pipeline.execute_command("ZREM", name, *members)
        pipeline.execute()

    def _scan(self, prefix: str, kind: str | None = None) -> Iterator[Sequence[str]]:
        """Yield all keys that begin so, of each server, a thousand at a time."""
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        with ERRORS:
            keys: Iterator[bytes] = self._client.scan_iter(pattern, SCANNED, kind)
        while True:
            with ERRORS:
                some = list(itertools.islice(keys, SCANNED))
            if not some:
                return
            yield [key.decode(errors="replace") for key in some]  # of ours, each can be decoded

    def clean_up(self) -> None:
        """Do nothing: Redis removes what has expired."""

    def amend(self, key: str, message: Message) -> None:
        """Replace what is kept of a message, with or without votes."""
        self._run(AMEND, [key], *parts_of(message))

    def vote(self, key: str, raters: Sequence[bytes], vote_request: VoteRequest) -> VoteResult:
        """Cast a vote in one script, which marks it if the outbox is on the same server for sure.

        In a cluster the vote bears its mark, and a second call puts that into an outbox. If that
        fails, the vote was not acknowledged, and the same vote, sent again, makes up for it.
        """
        outbox, lease = vote_request.outbox, int(vote_request.lease * 1000)
        spread, ttl = self._is_cluster, _milliseconds(vote_request.ttl)
        limits = vote_request.max_revisions, "" if outbox is None else lease, ttl
        keys = [key] if outbox is None or spread else [key, outbox]
        reply = self._run(VOTE, keys, vote_request.vote, *limits, *raters)
        if reply is None:
            return VoteResult("unknown")
        if reply == NEWER:
            raise of_newer_version("Redis: a message")
        said, revision, cast_at, voter, message = unpack_vote_result(reply)
        mark = None
        if message and outbox and cast_at:
            mark = Mark(near(self._client, outbox, key) if spread else outbox, key, voter, cast_at)
            if spread:
                self._index(mark, lease)
        return VoteResult(cast("Status", said), revision, message, cast_at, mark, voter)

    def _index(self, mark: Mark, lease: int) -> None:
        with ERRORS:
            member = member_of(mark)
            self._client.execute_command("ZADD", mark.outbox, "NX", mark.cast_at + lease, member)

    def take(
        self,
        outbox: str,
        lease: float,
        limit: int,
        *,
        held: Sequence[Mark] = (),
        let_go: Sequence[Mark] = (),
    ) -> list[Undelivered]:
        """Ask each server once, and then for the votes, if there are any."""
        marks: list[Mark] = []

        def take_from(outboxes: Sequence[tuple[str, int]]) -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            for name, share in outboxes:
                ours = [member_of(mark) for mark in held if mark.outbox == name]
                theirs = [member_of(mark) for mark in let_go if mark.outbox == name]
                leases = int(lease * 1000), share, len(ours), *ours, *theirs
                pipeline.execute_command("EVAL", TAKE, 1, name, *leases, **self._at(name))
            for (name, _), members in zip(outboxes, pipeline.execute(), strict=True):
                marks.extend(mark_of(name, member) for member in members)

        try:
            self._on_each_node(shares(self._is_cluster, outbox, limit), itemgetter(0), take_from)
        except StoreUnavailable:
            if not marks:  # those of the other nodes are ours now, and nobody else's
                raise
        return self._votes_of(marks, int(lease * 1000)) if marks else []

    def _on_each_node(
        self, items: Sequence[T], key_of: Callable[[T], str], call: Callable[[Sequence[T]], None]
    ) -> None:
        """Call for the items of each node; if a node fails, raise after those of the others.

        A cluster's node is asked something small first: if it does not answer, redis-py would try
        each command of a pipeline again alone, for a timeout or two each.
        """
        failed: Exception | None = None
        with ERRORS:
            for some in by_node(self._client, items, key_of):
                try:
                    if self._is_cluster:
                        self._client.execute_command("EXISTS", key_of(some[0]))
                    call(some)
                except FAILURES as error:
                    failed = error
            if failed is not None:
                raise failed

    def _at(self, key: str) -> dict[str, Any]:
        """Name the node of a key to a pipeline: redis-py would ask a server for a script's keys."""
        return {"target_nodes": self._client.get_node_from_key(key)} if self._is_cluster else {}

    def _votes_of(self, marks: Sequence[Mark], lease: int) -> list[Undelivered]:
        """Read the votes; take off the marks of those that were delivered or replaced.

        Votes on messages that a later version of ours keeps are left to that.
        """
        with ERRORS:
            pipeline: Any = self._client.pipeline(transaction=False)
            for _, key, voter, cast_at in marks:
                older = b"o" + pack_time(cast_at) + voter
                pipeline.hmget(key, "m", "x", b"v" + voter, b"p" + voter, older, "f")
            replies = pipeline.execute(raise_on_error=False)
        taken, stale, newer = [], [], False
        for mark, reply in zip(marks, replies, strict=True):
            if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                raise unavailable(reply)
            # A message that nobody rated is of another type: the ID was used again.
            fields: Any = (None,) * 6 if isinstance(reply, Exception) else reply
            head, rest, held, marked, older, is_replaced = fields
            message = decode(head[:-TIME] + (rest or b"")) if head else None
            if head and is_newer(head):
                newer = True
            elif found := _undelivered(mark, message, held, marked, older):
                taken.append(found)
            else:
                stale.append(mark)
                if self._is_cluster:
                    self._lead_on(mark, marked, is_replaced, lease)
        if stale:
            self.unmark(stale)
        if newer and not taken:  # it is said once what else there is was taken
            raise of_newer_version("Redis: a message")
        return taken

    def _lead_on(
        self, mark: Mark, marked: bytes | None, is_replaced: bytes | None, lease: int
    ) -> None:
        """Index the newer votes of a rater: each is in no outbox if its process ended too early."""
        times = [] if marked is None else [marked]
        if is_replaced:
            with ERRORS:
                names = self._client.hkeys(mark.key)
            of = [name[1:] for name in names if name.startswith(b"o")]
            times += [name[:TIME] for name in of if name[TIME:] == mark.voter]
        for cast_at in map(unpack_time, times):
            if cast_at > mark.cast_at:
                self._index(mark._replace(cast_at=cast_at), lease)

    def unmark(self, marks: Sequence[Mark]) -> None:
        """Take the marks off the votes and out of the outboxes, in one round trip a server."""
        self._on_each_node(marks, attrgetter("outbox"), self._unmark)

    def _unmark(self, marks: Sequence[Mark]) -> None:
        pipeline: Any = self._client.pipeline(transaction=False)
        together = 1 if self._is_cluster else MAX_KEYS
        for first in range(0, len(marks), together):
            some = marks[first : first + together]
            keys = [mark.key for mark in some]
            values = [value for mark in some for value in (mark.voter, pack_time(mark.cast_at))]
            what = UNMARK, len(keys), *keys, *values
            pipeline.execute_command("EVAL", *what, **self._at(keys[0]))
        for outbox in {mark.outbox for mark in marks}:
            members = [member_of(mark) for mark in marks if mark.outbox == outbox]
            pipeline.execute_command("ZREM", outbox, *members)
        pipeline.execute()

    def backlog(self, outbox: str) -> Backlog:
        """Count the members; the oldest is among those that are due first."""
        count, oldest = 0, []
        with ERRORS:
            pipeline: Any = self._client.pipeline(transaction=False)
            names = [name for name, _ in shares(self._is_cluster, outbox, 0)]
            for name in names:
                pipeline.zcard(name)
                pipeline.zrange(name, 0, MAX_KEYS)
            replies = pipeline.execute()
        for name, members in zip(names, replies[1::2], strict=True):
            oldest += [mark_of(name, member).cast_at for member in members]
        count = sum(replies[::2])
        return Backlog(count, min(oldest, default=None))

    def announce(self, key: str, value: bytes) -> list[bytes]:
        """Keep a value in a sorted set, by its time."""
        return list(self._run(ANNOUNCE, [key], value))

    def read(
        self, keys: Sequence[str], raters: Sequence[bytes], ttl: timedelta = DEFAULT_VOTE_TTL
    ) -> list[StoredVote | None]:
        """Ask for all in one round trip a server, and for nothing that a stranger may not see."""
        replies: dict[str, Any] = {}

        def read_from(some: Sequence[str]) -> None:
            pipeline: Any = self._client.pipeline(transaction=False)
            for key in some:
                what = READ, 1, key, _milliseconds(ttl), *raters
                pipeline.execute_command("EVAL", *what, **self._at(key))
            for key, reply in zip(some, pipeline.execute(), strict=True):
                replies[key] = None if reply == NEWER else reply

        self._on_each_node(keys, str, read_from)
        return [_standing(replies[key]) for key in keys]

    def show(self, key: str) -> Shown | None:
        """Read all that is kept of one message."""
        with ERRORS:
            client: Any = self._client
            kind, fields = client.type(key), {}
            if kind == b"hash":
                fields = client.hgetall(key)
            elif kind == b"string":
                fields = {b"m": client.get(key) or b""}
            expires_in, now = client.pttl(key) / 1000, client.time()
        head, rateable_for = fields.get(b"m", b""), expires_in
        if is_newer(head):
            raise of_newer_version("Redis: the message")
        if kind == b"hash":
            head, until = head[:-TIME], head[-TIME:]
            seconds, microseconds = now
            rateable_for = unpack_time(until) / 1000 - seconds - microseconds / 1_000_000
        message = decode(head + fields.get(b"x", b""), fields.get(b"c"))
        if message is None:
            return None
        votes = {}
        for name, value in fields.items():
            if name.startswith(b"v"):
                since = unpack_time(value) if b"p" + name[1:] in fields else None
                vote = unpack_vote(value[TIME:])
                votes[name[1:]] = StoredVote(message, *vote, since, name[1:])
        return Shown(message, rateable_for, expires_in, votes)

    def check(self, prefix: str = "", *, full: bool = False) -> list[Finding]:  # noqa: ARG002  # no question takes long
        """Look at each server that keeps messages."""
        with ERRORS:
            client: Any = self._client
            nodes: list[Any] = client.get_primaries() if self._is_cluster else [None]
            found = [findings_of(client, prefix, node) for node in nodes]
        return [finding for findings in found for finding in findings]

    def _run(self, script: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script by its hash, which Redis may have forgotten."""
        both = len(keys), *keys, *arguments
        with ERRORS:
            try:
                return self._client.execute_command("EVALSHA", HASHES[script], *both)
            except NoScriptError:
                return self._client.eval(script, *both)


class _Errors:
    """Turns everything that redis-py raises in a `with` block into our own error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FAILURES):
            raise unavailable(error) from error


MAX_KEYS = 1000
"""Messages of which one script takes marks off: Redis serves nobody else meanwhile."""

SCANNED = 1000
"""Keys to ask for, and to look at, at once: a server serves nobody else meanwhile."""

ERRORS = _Errors()
"""One for all, as each vote and each message passes through it."""


SCRIPTS = ANNOUNCE, STASH, PEEK, VOTE, AMEND, KEPT, FORGET

HASHES = {script: hashlib.sha1(script.encode()).hexdigest() for script in SCRIPTS}  # noqa: S324  # EVALSHA names a script so


def _undelivered(
    mark: Mark,
    message: Message | None,
    held: bytes,
    marked: bytes | None,
    older: bytes | None,
) -> Undelivered | None:
    """Return the vote that bears a mark; `None` if it was delivered, or another is newer."""
    if message is None:
        return Undelivered(mark)
    if marked == pack_time(mark.cast_at):
        return Undelivered(mark, message, *unpack_vote(held[TIME:]))
    return Undelivered(mark, *unpack_older(older)) if older else None


def _kept(key: str, reply: Any) -> list[Kept]:
    if reply == NEWER:
        raise of_newer_version("Redis: a message")
    return unpack_kept(key, reply, time.time()) if reply else []


def _standing(reply: tuple[bytes, bytes | None, bytes] | None) -> StoredVote | None:
    """Tell what one rater sees of a message, and of the vote kept with it."""
    message = decode(reply[0]) if reply else None
    if reply is None or message is None:
        return None
    if reply[1] is None:
        return StoredVote(message)
    return StoredVote(message, *unpack_vote(reply[1]), voter=reply[2])


def _milliseconds(ttl: timedelta) -> int:
    return int(ttl.total_seconds() * 1000)
