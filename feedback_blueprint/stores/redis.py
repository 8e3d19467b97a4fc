"""Messages and votes in Redis or Valkey: the only file that knows `redis`.

A message that nobody rated is a string, the smallest thing that Redis keeps. The first vote turns
it into a hash, under the same key and with the same time to live:

    m               the message
    v<rater>        the rater's vote: its revision, a space, the vote
    p<rater>        the attempt that cast it, until that attempt confirms that it was recorded
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from ..errors import ConfigurationError, StoreUnavailable
from .base import Message, Outcome, Standing

MAX_CONNECTIONS = 50
"""Connections of one process; callers beyond that wait their turn, for one timeout at most."""

VOTE = """
local attempt, vote, instead_of, limit = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local kind, message = redis.call('TYPE', KEYS[1]).ok
if kind == 'string' then message = redis.call('GET', KEYS[1])
elseif kind == 'hash' then message = redis.call('HGET', KEYS[1], 'm') end
if not message then return {'unknown'} end

local voter
if message:byte(1) == 1 then voter = ARGV[5]
else
  local owner = message:sub(18, 33)
  for i = 5, #ARGV do if ARGV[i] == owner then voter = owner end end
end
if not voter then return {'unknown'} end

local revision, standing = 0, nil
local held = kind == 'hash' and redis.call('HGET', KEYS[1], 'v' .. voter)
if held then
  local space = held:find(' ', 1, true)
  revision, standing = tonumber(held:sub(1, space - 1)), held:sub(space + 1)
end

if standing == vote then
  local pending = redis.call('HGET', KEYS[1], 'p' .. voter)
  if not pending then return {'unchanged', revision, message} end
  if pending ~= attempt and pending ~= instead_of then
    return {'pending', revision, message, pending}
  end
  redis.call('HSET', KEYS[1], 'p' .. voter, attempt)
  return {'accepted', revision, message}
end
if not standing and vote == 'null' then return {'unchanged', 0, message} end
if revision >= limit then return {'too-many', revision, message} end

if kind == 'string' then
  local ttl = redis.call('PTTL', KEYS[1])
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'm', message)
  if ttl > 0 then redis.call('PEXPIRE', KEYS[1], ttl) end
end
redis.call('HSET', KEYS[1], 'v' .. voter, (revision + 1) .. ' ' .. vote, 'p' .. voter, attempt)
return {'accepted', revision + 1, message}
"""

CONFIRM = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""

AMEND = """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'hash' then redis.call('HSET', KEYS[1], 'm', ARGV[1])
elseif kind == 'string' then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', math.max(redis.call('PTTL', KEYS[1]), 1))
end
"""


class RedisStore:
    """A store on a `redis.Redis` client, which must not decode responses: what we keep is bytes.

    Give a client of your own to share its connections: `FeedbackBlueprint(store=RedisStore(...))`.
    Its timeouts and retries are then yours to bound; `from_url` sets them.
    """

    def __init__(self, client: redis.Redis) -> None:
        if client.get_encoder().decode_responses:
            raise ConfigurationError(
                "RedisStore cannot use a client with decode_responses=True. "
                "Give it a client without."
            )
        self._client = client
        self._vote = client.register_script(VOTE)
        self._amend = client.register_script(AMEND)
        self._one_way = _one_way_pool(client.connection_pool)

    @classmethod
    def from_url(cls, url: str, timeout: float) -> RedisStore:
        """Make a store that waits at most twice `timeout` seconds; connects when first used.

        redis-py's own defaults retry 10 times or never, and wait without bound or 5 seconds.
        """
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            health_check_interval=0,
            protocol=2,  # under 3, maintenance notices of the server relax timeouts to 10 seconds
            retry=Retry(ExponentialWithJitterBackoff(base=0.01, cap=0.05), 1),
            retry_on_error=[redis.ReadOnlyError],
        )
        return cls(redis.Redis(connection_pool=pool))

    def stash(self, key: str, message: Message, ttl: timedelta) -> bool:
        """Keep a message; one already kept whole is our own, sent twice."""
        value = encode(message)
        with _wrapped():
            if self._client.set(key, value, px=ttl, nx=True):
                return True
            try:
                return self._client.get(key) == value
            except redis.ResponseError:  # a hash: it has been rated, so it is not new
                return False

    def amend(self, key: str, message: Message) -> None:
        """Replace a message, with or without votes."""
        with _wrapped():
            self._amend(keys=[key], args=[encode(message)])

    def vote(
        self,
        key: str,
        raters: Sequence[bytes],
        vote: bytes,
        *,
        attempt: bytes,
        instead_of: bytes,
        max_revisions: int,
    ) -> Outcome:
        """Cast a vote in one script."""
        with _wrapped():
            reply: Any = self._vote(
                keys=[key], args=[attempt, vote, instead_of, max_revisions, *raters]
            )
        status, *rest = reply
        match rest:
            case [revision, message]:
                return Outcome(status.decode(), revision, decode(message))
            case [revision, message, pending]:
                return Outcome(status.decode(), revision, decode(message), pending)
        return Outcome("unknown")

    def confirm(self, key: str, voter: bytes, attempt: bytes) -> None:
        """Send the confirmation over a connection on which Redis has been told not to answer."""
        with contextlib.suppress(redis.RedisError, OSError):
            connection: Any = self._one_way.get_connection()
            try:
                connection.send_command("EVAL", CONFIRM, 1, key, b"p" + voter, attempt)
            finally:
                self._one_way.release(connection)

    def read(self, keys: Sequence[str], raters: Sequence[bytes]) -> list[Standing | None]:
        """Ask for each key both ways, as a string and as a hash: it is one of them, or neither."""
        fields = [kind + rater for rater in raters for kind in (b"v", b"p")]
        with _wrapped():
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
                pipeline.hmget(key, "m", *fields)
            replies = pipeline.execute(raise_on_error=False)
        standings: list[Standing | None] = []
        for value, values in zip(replies[::2], replies[1::2], strict=True):
            held = dict(zip(fields, values[1:], strict=True)) if isinstance(values, list) else {}
            if isinstance(value, redis.ResponseError):  # a hash
                value = values[0]
            for reply in (value, values):
                if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                    raise _unavailable(reply) from reply
            standings.append(_standing(value, held, raters))
        return standings


def _standing(
    value: bytes | None, held: Mapping[bytes, bytes | None], raters: Sequence[bytes]
) -> Standing | None:
    """Tell what one rater sees of a message, and of the vote kept with it."""
    message = decode(value) if value else None
    voter = message.voter(raters) if message else None
    if message is None or voter is None:
        return None
    vote = held.get(b"v" + voter)
    if vote is None:
        return Standing(message)
    revision, vote = vote.split(b" ", 1)
    return Standing(message, int(revision), vote, held[b"p" + voter] is not None)


def encode(message: Message) -> bytes:
    """Pack a message: a byte for the layout, 16 of trace ID, 16 of owner, and what else there is.

    Layout 1 has no owner, layout 2 has one. A trace ID that is not 32 hex digits, as New Relic's
    own inbound header can make it, goes with the rest.
    """
    rest: dict[str, Any] = {}
    try:
        trace_id = bytes.fromhex(message.trace_id)
    except ValueError:
        trace_id = b""
    if trace_id.hex() != message.trace_id or len(trace_id) != 16:
        trace_id, rest["trace_id"] = bytes(16), message.trace_id
    if message.context:
        rest["context"] = dict(message.context)
    if message.content is not None:
        rest["content"] = message.content
    packed = (b"\2" if message.owner else b"\1") + trace_id + message.owner
    return packed + json.dumps(rest, separators=(",", ":")).encode() if rest else packed


def decode(value: bytes) -> Message:
    """Unpack what `encode` packed."""
    end = 33 if value[0] == 2 else 17
    rest = json.loads(value[end:] or b"{}")
    return Message(
        trace_id=rest.get("trace_id", value[1:17].hex()),
        owner=value[17:end],
        context=rest.get("context", {}),
        content=rest.get("content"),
    )


@contextlib.contextmanager
def _wrapped() -> Iterator[None]:
    """Turn everything that redis-py raises into our own error."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"Redis did not take part: {error} Send it again.")


def _one_way_pool(pool: redis.ConnectionPool) -> redis.ConnectionPool:
    """Make a pool like `pool`, of connections that read no replies after the handshake.

    `CLIENT REPLY OFF` spares a round trip. Where a server refuses it, its answers pile up unread,
    which makes redis-py reconnect before the next use: slower, and still right.
    """

    def connect(connection: Any) -> None:
        connection.on_connect()
        connection.send_command("CLIENT", "REPLY", "OFF")

    kwargs = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if not name.startswith(("maint_", "oss_", "orig_"))  # of no use without replies
    }
    kwargs |= {"protocol": 2, "redis_connect_func": connect}
    return redis.ConnectionPool(
        connection_class=pool.connection_class, max_connections=MAX_CONNECTIONS, **kwargs
    )
