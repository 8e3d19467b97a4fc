"""redis-py's connections: the options that they are made with, and how each call ends in time.

redis-py's own defaults retry 10 times or never, and wait 5 seconds or without bound. Here a call
has two attempts, and each attempt has a timeout. redis-py has that timeout for each step: for
connecting to each address of a name, for each chunk of an answer. A server that answers byte by
byte keeps it busy for as long as it likes. So all steps of a call share one deadline.
"""

from __future__ import annotations

import codecs
import functools
import math
import sys
import time
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from ...per_process import PerProcess, new_lock
from ..deadline import DEADLINE, NO_DEADLINE, TIMEOUTS_PER_CALL, Deadline
from .errors import FAILURES

MAX_CONNECTIONS = 500
"""Connections of one process to one server.

More callers at once wait, for one timeout at most. With Sentinels or a cluster they are refused at
once, because redis-py's pools do not wait there.

With 50, three hundred greenlets at once lost one message in five: a greenlet holds its connection
until it is scheduled again, and that takes longer than Redis does.
"""

RETRIED = [errors.ReadOnlyError, errors.ConnectionError, errors.TimeoutError]
"""After a failover the second attempt may find the new primary.

redis-py retries the other two by itself. But redis-py 5 does not in a pipeline if any is named.
"""


class BadURL(ValueError):
    """Says what is wrong with a URL, and nothing that is secret."""


def limits_of(timeout: float) -> dict[str, Any]:
    """Return the options that bound an attempt to `timeout` seconds; the options of a URL win."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "max_connections": MAX_CONNECTIONS,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 1),
        "protocol": 2,  # under 3, maintenance notices of a server relax timeouts to 10 seconds
    }


def hosts_and_options(url: str, port: int) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """Return the hosts that a URL names, with `port` if it names none, and its options.

    Raises `BadURL`, or a `ValueError` of Python's own, which may hold a password.
    """
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
    if parts.scheme.startswith("rediss"):
        options["ssl"] = True
    return addresses, options


def database_of(text: str) -> int:
    """Return the number of a database; redis-py would take what is not one for 0."""
    number = unquote(text).strip("/") or "0"
    if not number.isdecimal():
        raise BadURL("a database is one number, from 0")
    return int(number)


def refuse_unusable(options: Mapping[str, Any], others: Collection[str] = ()) -> None:
    """Raise `BadURL` for options that a connection cannot use; `others` are for its client."""
    connection = redis.SSLConnection if options.get("ssl") else redis.Connection
    left_out = {"ssl", "max_connections", *others}
    used: Any = {name: value for name, value in options.items() if name not in left_out}
    try_options(connection, used | {"retry_on_error": RETRIED})


def try_options(connection: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Make a connection that connects to nothing; raise `BadURL` for what it cannot use."""
    database_of(str(options.get("db", 0)))
    for name in "socket_timeout", "socket_connect_timeout":
        if not 0 < options[name] < math.inf:
            raise BadURL(f"{name} is a number of seconds, over 0 and finite")
    with refusing_options():
        encoder = connection(**options).encoder
        encoding = codecs.lookup(encoder.encoding).name
    if encoding != "utf-8":
        raise BadURL("a key is UTF-8: leave out encoding=")
    if encoder.decode_responses:
        raise BadURL("what is kept is bytes, which decode_responses would spoil")


@contextmanager
def refusing_options() -> Generator[None]:
    """Raise `BadURL` if redis-py stumbles over an option."""
    try:
        yield
    except (TypeError, AttributeError, LookupError, errors.RedisError) as error:
        raise BadURL(f"redis-py cannot use an option, {error}") from error


# How each step ends in time

SLICES = 5
"""Slices of a timeout in which a socket waits.

What comes within a slice costs the call a slice at most. So a call that waits for its turn among
others pays less than the time that passes.
"""


class BoundedTimeout:
    """A timeout of redis-py's, in seconds, which is never more than the running call still has."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = f"_{name}"  # redis-py 8 keeps it there as well

    def __get__(self, instance: Any, _: type) -> float:
        """Raise `TimeoutError` if the call has no time left."""
        seconds: float = getattr(instance, self._name)
        deadline = DEADLINE.get()
        return min(seconds, deadline.begin() if instance.is_connecting else deadline.left())

    def __set__(self, instance: object, seconds: float) -> None:
        setattr(instance, self._name, seconds)


class BoundedSocket:
    """A socket for redis-py, on which nothing goes on after the end of a call.

    Outside a call, as for a delivery, a command and its answer have two timeouts together.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.settimeout(sock.gettimeout())
        self._begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float) -> None:
        """Set how long each `recv()` and each part of `sendall()` may take; 0 is not to wait."""
        self._timeout = seconds
        self._slice = seconds / SLICES
        self._sock.settimeout(self._slice)

    def sendall(self, data: bytes) -> None:
        """Send it all; outside a call, this begins the two timeouts."""
        self._begin()
        rest = memoryview(data)
        while rest:
            rest = rest[self._in_time(self._sock.send, rest) :]

    def recv(self, *args: Any) -> bytes:
        """Receive what is there."""
        received: bytes = self._in_time(self._sock.recv, *args)
        return received

    def recv_into(self, *args: Any) -> int:
        """Receive what is there; hiredis calls this."""
        return int(self._in_time(self._sock.recv_into, *args))

    def _begin(self) -> None:
        self._deadline = DEADLINE.get()
        if self._deadline is NO_DEADLINE:
            self._deadline = Deadline(TIMEOUTS_PER_CALL * self._timeout)

    def _in_time(self, call: Callable[..., Any], *args: Any) -> Any:
        waited = 0.0
        while True:
            seconds = min(self._slice, self._deadline.left()) if self._timeout else 0.0
            if seconds < self._slice:
                self._sock.settimeout(seconds)
            began = time.monotonic()
            try:
                done = call(*args)
            except TimeoutError:
                self._deadline.spend(seconds)
                waited += seconds
                if waited >= self._timeout:
                    self._deadline.has_timed_out = True
                    raise
            else:
                self._deadline.spend(min(time.monotonic() - began, seconds))
                return done
            finally:
                if seconds < self._slice:
                    self._sock.settimeout(self._slice)


class BoundedConnection:
    """Bounds the steps of a class of redis-py's connections, if it comes before that as a base."""

    socket_connect_timeout = BoundedTimeout()
    is_connecting = False
    """If so, redis-py reads its timeout as it begins to try an address of a name."""

    port: int | None = None
    """redis-py 8 asks for it when it counts a timeout, and a Unix socket has none."""

    def _connect(self) -> Any:
        deadline = DEADLINE.get()
        self.is_connecting = True
        try:
            connected = BoundedSocket(super()._connect())  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # see above
            deadline.end()
        finally:
            deadline.fail()
            self.is_connecting = False
        return connected

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        timeout = sock.gettimeout()
        deadline = DEADLINE.get()
        deadline.end()  # it is connected
        seconds = min(timeout, deadline.begin())
        sock.settimeout(seconds)
        with _greenlet_limit(sock, seconds):
            wrapped = super()._wrap_socket_with_ssl(sock)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # see above
        wrapped.settimeout(timeout)
        return wrapped


def _greenlet_limit(sock: Any, seconds: float) -> AbstractContextManager[Any]:
    """Limit a whole handshake on a socket of gevent's, which has a timeout for each step."""
    gevent: Any = sys.modules.get("gevent")
    of_gevent = type(sock).__module__.startswith("gevent.")
    return gevent.Timeout(seconds, TimeoutError("timed out")) if of_gevent else nullcontext()


@functools.cache
def bounded(kind: type[Any]) -> type[Any]:
    """Return a class of connections like `kind`, each step of which ends in time."""
    return type(f"Bounded{kind.__name__}", (BoundedConnection, kind), {})


class Cached:
    """What a function returns, kept for so many `seconds`; what it raises, kept for one second.

    If three hundred callers need it at once, one of them makes it and the others wait.
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
        self._lock = PerProcess(new_lock)
        self._now = clock
        self._until = -math.inf
        self.value: Any = None

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
                        self.value, seconds = self._make(), self._seconds
                    except FAILURES as error:
                        self.value, seconds = error, 1
                    self._until = self._now() + seconds
            finally:
                lock.release()
        value = self.value
        if isinstance(value, Exception):
            raise value.with_traceback(None)  # which would grow with each caller
        return value
