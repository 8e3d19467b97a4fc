"""redis-py's connections, made to end in time, whatever a server does.

redis-py has a timeout for each step: for connecting to each address of a name, for each chunk of an
answer, for each try. A server that answers byte by byte keeps it busy for as long as it likes. Here
all steps of a call share one deadline.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import redis

from ..deadline import DEADLINE, NONE, Deadline

SLICES = 5
"""Slices of a timeout in which a socket waits.

What comes within a slice costs the call a slice at most. So a call that waits for its turn among
others pays less than the time that passes.
"""


class BoundedTimeout:
    """A timeout of redis-py's, in seconds, which is never more than the running call still has."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = f"_{name}"  # redis-py 8 keeps it there as well

    def __get__(self, it: Any, _: type) -> float:
        """Raise `TimeoutError` if the call has no time left."""
        seconds: float = getattr(it, self._name)
        deadline = DEADLINE.get()
        return min(seconds, deadline.begin() if it.is_connecting else deadline.left())

    def __set__(self, it: object, seconds: float) -> None:
        setattr(it, self._name, seconds)


class BoundedPool(redis.BlockingConnectionPool):
    """Lets a call wait for a connection, as long as the call has time."""

    timeout = BoundedTimeout()
    is_connecting = False


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
        running = DEADLINE.get()
        self._deadline = Deadline(2 * self._timeout) if running is NONE else running

    def _in_time(self, call: Callable[..., Any], *args: Any) -> Any:
        waited = 0.0
        while True:
            seconds = min(self._slice, self._deadline.left()) if self._timeout else 0.0
            if seconds < self._slice:
                self._sock.settimeout(seconds)
            begin = time.monotonic()
            try:
                done = call(*args)
            except TimeoutError:
                self._deadline.spend(seconds)
                waited += seconds
                if waited >= self._timeout:
                    raise
            else:
                self._deadline.spend(min(time.monotonic() - begin, seconds))
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
