"""Where messages and votes are kept, and how a URL names the place."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigurationError
from .base import ANYONE, RETRACTED, Ballot, Confirmation, Message, Outcome, Shown, Standing, Store
from .guard import Guard
from .outbox import MOMENT, send_soon
from .redis import RedisStore
from .redis_client import SCHEMES, BadURL
from .sqlite import SQLiteStore

__all__ = [
    "ANYONE",
    "MOMENT",
    "RETRACTED",
    "Ballot",
    "Confirmation",
    "Guard",
    "Message",
    "Outcome",
    "RedisStore",
    "SQLiteStore",
    "Shown",
    "Standing",
    "Store",
    "refuse_what_is_no_store",
    "send_soon",
    "store_from_url",
]

DEFAULT_FILE = "feedback.sqlite3"


def store_from_url(url: str | None, *, timeout: float, instance_path: str, key: str) -> Store:
    """Make the store that `url` names; nothing is opened before its first use.

    `timeout` is in seconds; `key` is the configuration key that an error names. A `ValueError` of
    redis-py, and any scheme not known here, become a `ConfigurationError` that hides passwords.
    """
    if url is None:
        return SQLiteStore(Path(instance_path, DEFAULT_FILE), timeout)
    try:
        parts = urlsplit(url)
        if parts.scheme in SCHEMES:
            return RedisStore.from_url(url, timeout)
        if parts.scheme == "sqlite" and not parts.netloc and parts.path not in ("", "/:memory:"):
            return SQLiteStore(Path(instance_path, unquote(parts.path)[1:]), timeout)
        why = ""
    except BadURL as error:
        why = f" ({error})"
    except (ValueError, TypeError):
        why = ""  # Python's own texts hold passwords
    raise ConfigurationError(
        f"{key} cannot be {without_password(url)!r}{why}. Give redis://host:port/db, rediss://..., "
        "unix:///path, redis+cluster://host:port,host:port, "
        "redis+sentinel://host:port,host:port/service/db, sqlite:///file "
        "or sqlite:////path/to/file (not :memory:, which every worker would have to itself). "
        "Options after a ? are redis-py's."
    )


def refuse_what_is_no_store(store: object) -> None:
    """Raise `ConfigurationError` for a URL or a client in place of a store."""
    if store is not None and not hasattr(store, "stash"):
        raise ConfigurationError(
            f"store cannot be a {type(store).__name__}. "
            "Give RedisStore(client), or set FEEDBACK_STORE_URL instead."
        )


def without_password(url: str) -> str:
    """Return the URL fit for a log: whatever stands before an @ or in a query is a secret."""
    scheme, separator, rest = url.partition("://")
    if "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return scheme + separator + rest.partition("?")[0]
