"""What keeps messages and votes, and how a URL names it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from .base import Store
from .breaker import SLOW_REMEDY, CircuitBreaker, is_slow
from .redis.connections import BadURL
from .redis.store import RedisStore
from .redis.urls import TOPOLOGIES
from .sqlite.store import SQLiteStore

__all__ = [
    "SLOW_REMEDY",
    "CircuitBreaker",
    "RedisStore",
    "SQLiteStore",
    "Store",
    "check_store",
    "is_slow",
    "store_from_url",
]

DEFAULT_FILE = "feedback.sqlite3"

SQLITE = re.compile("(?i:sqlite):///(?!:memory:$)([^?#]*[^?#/])")
"""The URL of a file: its path, which is not a directory's. There are no options."""

LOGGABLE = re.compile(r"([\w+]+://)([^?]*@)?([^?@:]*)([?:][^@]*)?", re.DOTALL)
"""A URL whose first and third part are not secret."""


def store_from_url(url: str | None, *, timeout: float, instance_path: str, key: str) -> Store:
    """Make the store that `url` names, which opens nothing before its first use.

    `timeout` is in seconds; `key` is the configuration key that an error names. Raises
    `ConfigurationError`, which hides passwords, for a URL that cannot work.
    """
    if url is None:
        return SQLiteStore(Path(instance_path, DEFAULT_FILE), timeout)
    try:
        if urlsplit(url).scheme in TOPOLOGIES:
            return RedisStore.from_url(url, timeout)
        if found := SQLITE.fullmatch(url):
            path = unquote(found[1])
            if "\0" in path:
                raise BadURL("a path cannot have a NUL")
            return SQLiteStore(Path(instance_path, path), timeout)
        why = ""
    except BadURL as error:
        why = f" ({error})"
    except ValueError:
        why = ""  # Python's own texts hold passwords
    raise ConfigurationError(
        f"{key} cannot be {without_password(url)!r}{why}. Give redis://host:port/db, rediss://..., "
        "unix:///path, redis+cluster://host:port,host:port, "
        "redis+sentinel://host:port,host:port/service/db, sqlite:///file "
        "or sqlite:////path/to/file (not :memory:, which each worker would have to itself). "
        "Options after a ? are redis-py's."
    )


def check_store(store: object) -> None:
    """Raise `ConfigurationError` for what is not a store, such as a URL, a client or a class."""
    if store is not None and (isinstance(store, type) or not hasattr(store, "vote")):
        raise ConfigurationError(
            f"store cannot be a {type(store).__name__}. "
            "Give RedisStore(client), or leave it out and configure a URL."
        )


def without_password(url: str) -> str:
    """Return the URL fit for a log: in a URL that is wrong, a password may be anywhere."""
    if url.lower().startswith("sqlite:") and "@" not in url:
        return url  # SQLite has no passwords
    if not (found := LOGGABLE.fullmatch(url)):
        return "..." if url else ""
    scheme, credentials, host, rest = found.groups()
    return f"{scheme}{'***@' if credentials else ''}{host}{'...' if rest else ''}"
