"""One Redis server: its client, which sends a command, reads the answer, and does no more.

Around each command redis-py looks whether the connection is still open, and counts for
OpenTelemetry. Without the classes here a chat takes a twentieth longer, and a vote a fourteenth.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, Full
from typing import Any
from urllib.parse import urlsplit

import redis
from redis import exceptions as errors
from redis.client import Pipeline
from redis.connection import parse_url

from .connections import (
    RETRIED,
    BadURL,
    BoundedTimeout,
    bounded,
    database_of,
    limits_of,
    refusing_options,
    try_options,
)


def server_from_url(url: str, timeout: float) -> Callable[[], redis.Redis]:
    """Return what makes the client of a `redis://`, `rediss://` or `unix://` URL."""
    options = parse_url(url)
    parts = urlsplit(url)
    if parts.scheme != "unix":
        database_of(parts.path)
    elif not parts.path.strip("/"):
        raise BadURL("no path")
    str(options.get("host", "")).encode("idna")  # as the resolver would
    with refusing_options():
        pool = QuickPool.from_url(
            url,
            connection_class=bounded(options.get("connection_class", redis.Connection)),
            timeout=timeout,
            retry_on_error=RETRIED,
            **limits_of(timeout),
        )
    if parts.query:  # without options there is nothing to refuse, and this takes 4 ms
        try_options(pool.connection_class, pool.connection_kwargs)
    return lambda: QuickClient(connection_pool=pool)


class QuickPool(redis.BlockingConnectionPool):
    """Hands out a connection unchecked: if its server closed it, the command is sent again.

    A call waits for a connection as long as the call has time.
    """

    timeout = BoundedTimeout()
    is_connecting = False  # to wait for a connection is not to connect

    def get_connection(self, *_: Any, **__: Any) -> Any:
        """Wait for a connection; raises `ConnectionError` if there is none in time."""
        self._checkpid()
        try:
            return self.pool.get(timeout=self.timeout) or self.make_connection()  # type: ignore[no-untyped-call]  # redis-py's own
        except Empty:
            raise errors.ConnectionError("No connection available.") from None

    def release(self, connection: Any) -> None:
        """Take a connection back, unless it is a parent's, or of a pool that was made anew.

        After a fork that gevent patches, each of the first greenlets makes the pool anew.
        """
        self._checkpid()
        if self.owns_connection(connection):
            with suppress(Full):
                self.pool.put_nowait(connection)
                return
        connection.disconnect()


class QuickClient(redis.Redis):
    """A client of a `QuickPool`."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command and return what is answered; after a failure, once more."""
        pool: Any = self.connection_pool
        connection = pool.get_connection()

        def exchange() -> Any:
            connection.send_packed_command(connection.pack_command(*args))
            return self.parse_response(connection, args[0], **options)  # type: ignore[no-untyped-call]  # redis-py's own

        try:
            return connection.retry.call_with_retry(exchange, connection.disconnect)
        except errors.ResponseError:
            raise
        except BaseException:  # the answer may still come, and must not answer another command
            connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> QuickPipeline:
        """Return what sends several commands at once."""
        callbacks = self.response_callbacks
        return QuickPipeline(self.connection_pool, callbacks, transaction, shard_hint)


class QuickPipeline(Pipeline):
    """Several commands, whose answers are for nobody else, not even after an interrupt."""

    def _execute_pipeline(self, connection: Any, commands: Any, raise_on_error: Any) -> Any:
        try:
            return super()._execute_pipeline(connection, commands, raise_on_error)  # type: ignore[no-untyped-call]  # redis-py's own
        except errors.ResponseError:  # raised once all is read
            raise
        except BaseException:
            connection.disconnect()
            raise
