"""redis-py: clients from URLs, for a server, a cluster or Sentinel.

redis-py's own defaults retry 10 times or never, and wait 5 seconds or without bound. Here each
attempt has a timeout and there are two, with one deadline for both; nothing connects before it is
used.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from ...per_process import PerProcess
from ..deadline import DEADLINE
from .connections import timed
from .errors import FAILURES
from .exchange import QuickClient, QuickPool

Client = redis.Redis | redis.RedisCluster

MAX_CONNECTIONS = 500
"""Connections of one process to one server.

Callers beyond that wait, for one timeout at most; with Sentinels or a cluster they are refused at
once, as redis-py's pools there do not wait.

With 50, three hundred greenlets at once lost one message in five: a greenlet holds its connection
until it is scheduled again, which is longer than Redis takes.
"""

SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"),
)


CLUSTER_OPTIONS = ("dynamic_startup_nodes", "read_from_replicas", "reinitialize_steps")
"""Options of a URL that are for a cluster's client, not for its connections."""

TRIED_AGAIN = errors.ReadOnlyError, errors.ConnectionError, errors.TimeoutError
"""Errors after which what was sent is sent again. redis-py 5 has pipelines need all to be named."""


class BadURL(ValueError):
    """Says what is wrong with a URL, and nothing that is secret."""


def client_from_url(url: str, timeout: float) -> Callable[[], Client]:
    """Check `url` and return what makes its client; `timeout` is for one attempt, in seconds.

    A call through the guard has two of them in all: for its connections, TLS and login, for waiting
    for a connection, for its second attempt. What goes well counts a tenth of that at most, see
    `Deadline`. Not in it are the resolver of the system, and the
    quarter of a second that redis-py waits, twice, for a cluster that says that it is down.

    Query options go to redis-py as they are; those with the prefix `sentinel_` to the connections
    to the Sentinels themselves. Raises `BadURL`, or `ValueError`, for one that cannot work.
    """
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    limits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 1),
        "protocol": 2,  # under 3, maintenance notices of a server relax timeouts to 10 seconds
    }
    if not kind:
        return _server(url, limits, timeout)
    hosts, options = _parse(url, scheme, 26379 if kind == "sentinel" else 6379)
    if options.get("decode_responses"):
        raise BadURL("what is kept is bytes, which decode_responses would spoil")
    path = urlsplit(url).path.strip("/")
    if kind == "cluster":
        return _cluster(hosts, path, limits | options)
    return _sentinel(hosts, path, limits, options, timeout)


def place_of_url(url: str) -> str:
    """Return where a URL leads, without what may be secret: its user, password and options."""
    parts = urlsplit(url)
    if "+" in parts.scheme:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _place(parts.scheme, parse_url(url))


def place_of_client(client: Client) -> str:
    """Return where a client of the app's leads, as the URL would that says the same."""
    if isinstance(client, redis.RedisCluster):
        return f"redis+cluster://{','.join(sorted(str(node.name) for node in client.get_nodes()))}"
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"redis+sentinel://.../{pool.service_name}/{pool.connection_kwargs.get('db') or 0}"
    secure = issubclass(pool.connection_class, redis.SSLConnection)
    return _place("rediss" if secure else "redis", pool.connection_kwargs)


def _place(scheme: str, options: Mapping[str, Any]) -> str:
    database = options.get("db") or 0
    if "path" in options:
        return f"unix://{options['path']}?db={database}"
    host = options.get("host") or "localhost"
    return f"{scheme}://{host}:{options.get('port') or 6379}/{database}"


def _server(url: str, limits: dict[str, Any], timeout: float) -> Callable[[], Client]:
    options = parse_url(url)
    parts = urlsplit(url)
    if parts.scheme != "unix":
        _database(parts.path)  # which redis-py would take for 0, or for another
    elif not parts.path.strip("/"):
        raise BadURL("no path")
    str(options.get("host", "")).encode("idna")  # as the resolver would
    with _refusing_options():
        pool = QuickPool.from_url(
            url,
            connection_class=timed(options.get("connection_class", redis.Connection)),
            max_connections=MAX_CONNECTIONS,
            timeout=timeout,
            retry_on_error=list(TRIED_AGAIN),
            **limits,
        )
    if parts.query:  # without options there is nothing to refuse, and this takes 4 ms
        _connect_to_nothing(pool.connection_class, pool.connection_kwargs)
    if pool.get_encoder().decode_responses:
        raise BadURL("what is kept is bytes, which decode_responses would spoil")
    return lambda: QuickClient(connection_pool=pool)


def _cluster(
    hosts: list[tuple[str, int]], path: str, options: dict[str, Any]
) -> Callable[[], Client]:
    if options.pop("db", 0) or path not in ("", "0"):
        raise BadURL("a cluster has one database, 0")
    _refuse_unusable(options, CLUSTER_OPTIONS)
    options.setdefault("max_connections", MAX_CONNECTIONS)
    kind = timed(redis.SSLConnection if options.pop("ssl", False) else redis.Connection)
    (host, port), *others = hosts
    # Only with a URL does redis-py let one choose a kind of connections.
    url = f"redis://[{host}]:{port}" if ":" in host else f"redis://{host}:{port}"
    return lambda: redis.RedisCluster(
        url=url,
        startup_nodes=[ClusterNode(*other) for other in others],
        require_full_coverage=False,
        connection_class=kind,
        **options,
    )


def _sentinel(
    hosts: list[tuple[str, int]],
    path: str,
    limits: dict[str, Any],
    options: dict[str, Any],
    timeout: float,
) -> Callable[[], Client]:
    service, _, db = path.partition("/")
    if not service:
        raise BadURL("a Sentinel URL names its service, /service/db")
    options.setdefault("db", _database(db))
    prefix = "sentinel_"
    for_sentinels = {
        k.removeprefix(prefix): options.pop(k) for k in list(options) if k.startswith(prefix)
    }
    own = parse_url(f"redis://?{urlencode(for_sentinels)}")  # as those without a prefix were
    if options.get("ssl"):
        own["ssl"] = True
    for each in own, options:
        _refuse_unusable(limits | each)
    # Sentinels are asked one after the other, so each is given half the time, and no second try.
    half = {"socket_timeout": timeout / 2, "socket_connect_timeout": timeout / 2, "retry": None}
    sentinel: Any = _Sentinel(hosts, limits | half | own, **limits | options)
    kind = SentinelManagedSSLConnection if options.get("ssl") else SentinelManagedConnection
    return lambda: sentinel.master_for(
        service,
        connection_class=timed(kind),
        max_connections=MAX_CONNECTIONS,
        retry_on_error=list(TRIED_AGAIN),
    )


def _database(text: str) -> int:
    number = unquote(text).strip("/") or "0"
    if not number.isdecimal():
        raise BadURL("a database is one number, from 0")
    return int(number)


def _refuse_unusable(options: Mapping[str, Any], others: Collection[str] = ()) -> None:
    """Refuse what is no option of a cluster's or of Sentinels' connections, but for `others`."""
    connection = redis.SSLConnection if options.get("ssl") else redis.Connection
    left_out = {"ssl", "max_connections", *others}
    used: Any = {name: value for name, value in options.items() if name not in left_out}
    _connect_to_nothing(connection, used | {"retry_on_error": [errors.ReadOnlyError]})


def _connect_to_nothing(connection: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Make a connection, as the first caller would, and refuse what it cannot work with."""
    _database(str(options.get("db", 0)))
    for name in "socket_timeout", "socket_connect_timeout":
        if not 0 < options[name] < math.inf:
            raise BadURL(f"{name} is a number of seconds, over 0 and finite")
    with _refusing_options():
        connection(**options).encoder.encode("a")


@contextmanager
def _refusing_options() -> Generator[None]:
    try:
        yield
    except (TypeError, AttributeError, LookupError, errors.RedisError) as error:
        raise BadURL(f"redis-py cannot use an option, {error}") from error


class _Sentinel(Sentinel):
    """Asks for the primary once a second at most; else each of many new connections would."""

    def __init__(self, hosts: list[tuple[str, int]], own: dict[str, Any], **options: Any) -> None:
        super().__init__([], **options)  # type: ignore[no-untyped-call]  # redis-py's own
        kind = timed(redis.SSLConnection if own.pop("ssl", False) else redis.Connection)
        for host, port in hosts:
            pool = redis.ConnectionPool(connection_class=kind, host=host, port=port, **own)
            self.sentinels.append(redis.Redis(connection_pool=pool))
        self._shared: dict[str, Shared] = {}

    def discover_master(self, service_name: str) -> Any:
        """Return host and port of the primary, or raise what asking for it raised."""
        ask = functools.partial(super().discover_master, service_name)
        return self._shared.setdefault(service_name, Shared(ask, 1)).get()


class Shared:
    """What a function returns, for so many `seconds`, or what it raises, for one second.

    All callers share it: of three hundred that need it at once, one makes it.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._seconds = seconds
        self._lock = PerProcess()
        self._now = clock
        self._until = -math.inf
        self.made: Any = None

    def get(self) -> Any:
        """Return it, made now or before; raises `TimeoutError` if the call has no time to wait."""
        if self._now() > self._until:
            lock = self._lock()
            deadline = DEADLINE.get()
            while not lock.acquire(timeout=deadline.step):
                deadline.spend(deadline.step)
                deadline.left()
            try:
                if self._now() > self._until:
                    try:
                        self.made, seconds = self._make(), self._seconds
                    except FAILURES as error:
                        self.made, seconds = error, 1
                    self._until = self._now() + seconds
            finally:
                lock.release()
        made = self.made
        if isinstance(made, Exception):
            raise made.with_traceback(None)  # which would grow with each caller
        return made


def _parse(url: str, scheme: str, port: int) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return the hosts of a URL that names several, and the options that go to each of them."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    addresses = []
    for host in hosts.split(","):
        address = urlsplit(f"//{host}")
        if not address.hostname:
            raise BadURL("a host without a name")
        address.hostname.encode("idna")  # as the resolver would
        addresses.append((address.hostname, address.port or port))
    options = parse_url(f"redis://{credentials}@/?{parts.query}")
    if scheme == "rediss":
        options["ssl"] = True
    return addresses, options
