"""One Redis server behind Sentinels: its client, which asks them who the primary is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import redis
from redis.connection import parse_url
from redis.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from .connections import (
    RETRIED,
    BadURL,
    Cached,
    bounded,
    database_of,
    hosts_and_options,
    limits_of,
    refuse_unusable,
)

PREFIX = "sentinel_"
"""Before the name of an option that is for the connections to the Sentinels themselves."""

PRIMARY_SECONDS = 1.0
"""How long a process trusts what the Sentinels said."""


def sentinel_from_url(url: str, timeout: float) -> Callable[[], redis.Redis]:
    """Return what makes the client of a `redis+sentinel://` URL."""
    hosts, options = hosts_and_options(url, 26379)
    service, _, database = urlsplit(url).path.strip("/").partition("/")
    if not service:
        raise BadURL("a Sentinel URL names its service, /service/db")
    options.setdefault("db", database_of(database))
    prefixed = {name: options.pop(name) for name in list(options) if name.startswith(PREFIX)}
    query = urlencode({name.removeprefix(PREFIX): value for name, value in prefixed.items()})
    own = parse_url(f"redis://?{query}")  # which converts them, as it did those without a prefix
    if options.get("ssl"):
        own["ssl"] = True
    limits = limits_of(timeout)
    for each in own, options:
        refuse_unusable(limits | each)
    # The client asks one Sentinel after the other, so each has half the time, and no second try.
    half = {"socket_timeout": timeout / 2, "socket_connect_timeout": timeout / 2, "retry": None}
    sentinels: Any = Sentinels(hosts, limits | half | own, **limits | options)
    kind = SentinelManagedSSLConnection if options.get("ssl") else SentinelManagedConnection
    return lambda: sentinels.master_for(
        service, connection_class=bounded(kind), retry_on_error=RETRIED
    )


class Sentinels(Sentinel):
    """Asks for the primary once a second at most, and not for each new connection."""

    def __init__(self, hosts: list[tuple[str, int]], own: dict[str, Any], **options: Any) -> None:
        super().__init__([], **options)  # type: ignore[no-untyped-call]  # redis-py's own
        kind = bounded(redis.SSLConnection if own.pop("ssl", False) else redis.Connection)
        for host, port in hosts:
            pool = redis.ConnectionPool(connection_class=kind, host=host, port=port, **own)
            self.sentinels.append(redis.Redis(connection_pool=pool))
        self._primaries: dict[str, Cached] = {}

    def discover_master(self, service_name: str) -> Any:
        """Return host and port of the primary, or raise what asking for it raised."""
        ask = functools.partial(super().discover_master, service_name)
        return self._primaries.setdefault(service_name, Cached(ask, PRIMARY_SECONDS)).get()
