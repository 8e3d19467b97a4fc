"""What each connection to Redis is made with: the limits set here, and the options of its URL.

redis-py's own defaults retry 10 times or never, and wait 5 seconds or without bound. Here a call
has two attempts, each attempt has a timeout, and both have one deadline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis import exceptions as errors
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

MAX_CONNECTIONS = 500
"""Connections of one process to one server.

More callers at once wait, for one timeout at most. With Sentinels or a cluster they are refused at
once, because redis-py's pools do not wait there.

With 50, three hundred greenlets at once lost one message in five: a greenlet holds its connection
until it is scheduled again, and that takes longer than Redis does.
"""

RETRIED = [errors.ReadOnlyError, errors.ConnectionError, errors.TimeoutError]
"""After a failover the second attempt may find the new primary.

The others are redis-py's own choice, but redis-py 5 forgets them for a pipeline if one is named.
"""


class BadURL(ValueError):
    """Says what is wrong with a URL, and nothing that is secret."""


def limits_of(timeout: float) -> dict[str, Any]:
    """Return the options that bound an attempt to `timeout` seconds; those of a URL go before."""
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
    refuse_decoding(bool(options.get("decode_responses")))
    return addresses, options


def database_of(text: str) -> int:
    """Return the number of a database; redis-py would take what is not one for 0."""
    number = unquote(text).strip("/") or "0"
    if not number.isdecimal():
        raise BadURL("a database is one number, from 0")
    return int(number)


def refuse_decoding(decodes: bool) -> None:
    """Raise `BadURL` for a client that would turn bytes into text."""
    if decodes:
        raise BadURL("what is kept is bytes, which decode_responses would spoil")


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
        connection(**options).encoder.encode("a")


@contextmanager
def refusing_options() -> Generator[None]:
    """Raise `BadURL` if redis-py stumbles over an option."""
    try:
        yield
    except (TypeError, AttributeError, LookupError, errors.RedisError) as error:
        raise BadURL(f"redis-py cannot use an option, {error}") from error
