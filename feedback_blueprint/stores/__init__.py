"""Where messages and votes are kept, and how a URL names the place."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from .base import Store
from .breaker import FASTER, CircuitBreaker, is_slow
from .redis.client import SCHEMES, BadURL
from .redis.store import RedisStore
from .sqlite.store import SQLiteStore

__all__ = [
    "FASTER",
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
"""A URL of a file: its path, no directory, and no options, of which there are none."""

LOGGABLE = re.compile(r"([\w+]+://)([^?]*@)?([^?@:]*)([?:][^@]*)?", re.DOTALL)
"""A URL whose first and third part are no secret."""


def store_from_url(url: str | None, *, timeout: float, instance_path: str, key: str) -> Store:
    """Make the store that `url` names; nothing is opened before its first use.

    `timeout` is in seconds; `key` is the configuration key that an error names. A `ValueError` of
    redis-py, and any scheme not known here, become a `ConfigurationError` that hides passwords.
    """
    if url is None:
        return SQLiteStore(Path(instance_path, DEFAULT_FILE), timeout)
    try:
        if urlsplit(url).scheme in SCHEMES:
            return RedisStore.from_url(url, timeout)
        if found := SQLITE.fullmatch(url):
            path = unquote(found[1])
            if "\0" in path:
                raise BadURL("no path can have a NUL")
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
        "or sqlite:////path/to/file (not :memory:, which every worker would have to itself). "
        "Options after a ? are redis-py's."
    )


def check_store(store: object) -> None:
    """Raise `ConfigurationError` for a URL, a client or a class in place of a store."""
    if store is not None and (isinstance(store, type) or not hasattr(store, "vote")):
        raise ConfigurationError(
            f"store cannot be a {type(store).__name__}. "
            "Give RedisStore(client), or leave it out and configure a URL."
        )


def without_password(url: str) -> str:
    """Return the URL fit for a log: who cannot type it may have put a password anywhere."""
    if url.lower().startswith("sqlite:") and "@" not in url:
        return url  # which has no place for one
    if not (found := LOGGABLE.fullmatch(url)):
        return "..." if url else ""
    scheme, credentials, place, rest = found.groups()
    return f"{scheme}{'***@' if credentials else ''}{place}{'...' if rest else ''}"
