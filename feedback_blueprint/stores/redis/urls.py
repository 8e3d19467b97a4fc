"""From a URL to a redis-py client, whatever the topology; and back, to tell an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.connection import parse_url
from redis.sentinel import SentinelConnectionPool

from .cluster import cluster_from_url
from .sentinel import sentinel_from_url
from .server import server_from_url

Client = redis.Redis | redis.RedisCluster

TOPOLOGIES: Mapping[str, Callable[[str, float], Callable[[], Client]]] = {
    "redis": server_from_url,
    "rediss": server_from_url,
    "unix": server_from_url,
    "redis+cluster": cluster_from_url,
    "rediss+cluster": cluster_from_url,
    "redis+sentinel": sentinel_from_url,
    "rediss+sentinel": sentinel_from_url,
}
"""What takes a URL, by its scheme."""


def client_from_url(url: str, timeout: float) -> Callable[[], Client]:
    """Check `url` and return what makes its client; `timeout` is for one attempt, in seconds.

    Nothing connects before it is used. A call through the circuit breaker has two timeouts in all:
    for its connections, TLS and login, for waiting for a connection, for its second attempt. A step
    that ends well counts a tenth of them at most, see `Deadline`. They do not include the system's
    resolver, and the quarter of a second that redis-py waits, twice, for a cluster that says that
    it is down.

    Options in the query go to redis-py as they are; those with the prefix `sentinel_` go to the
    connections to the Sentinels themselves. Raises `ValueError` for a URL that cannot work: a
    `BadURL` holds nothing secret, another may.
    """
    return TOPOLOGIES.get(urlsplit(url).scheme, server_from_url)(url, timeout)


def is_cluster(url: str) -> bool:
    """Whether `client_from_url` makes the client of a cluster."""
    return TOPOLOGIES.get(urlsplit(url).scheme) is cluster_from_url


def location_of_url(url: str) -> str:
    """Return where a URL leads, without what may be secret: its user, password and options."""
    parts = urlsplit(url)
    if "+" in parts.scheme:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return _location(parts.scheme, parse_url(url))


def location_of_client(client: Client) -> str:
    """Return where a client of the app's leads, as the URL would that says the same."""
    if isinstance(client, redis.RedisCluster):
        return f"redis+cluster://{','.join(sorted(str(node.name) for node in client.get_nodes()))}"
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"redis+sentinel://.../{pool.service_name}/{pool.connection_kwargs.get('db') or 0}"
    secure = issubclass(pool.connection_class, redis.SSLConnection)
    return _location("rediss" if secure else "redis", pool.connection_kwargs)


def _location(scheme: str, options: Mapping[str, Any]) -> str:
    database = options.get("db") or 0
    if "path" in options:
        return f"unix://{options['path']}?db={database}"
    host = options.get("host") or "localhost"
    return f"{scheme}://{host}:{options.get('port') or 6379}/{database}"
