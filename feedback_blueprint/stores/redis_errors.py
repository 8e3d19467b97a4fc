"""redis-py: what its errors mean, and what to do about them."""

from __future__ import annotations

from redis import exceptions as errors

from ..errors import StoreUnavailable, Unreachable

FAILURES = (errors.RedisError, errors.RedisClusterException, OSError)
"""All that redis-py raises."""

RIGHTS = "+@read +@write +@scripting +@connection +time +info, in a cluster +cluster|slots"
"""What the user in a URL must be allowed, in the words of `ACL SETUSER`."""

PROTECTED = "It refuses other hosts, as it is in protected mode: give it a password."

OF_A_SCRIPT = "can't run this command", "no permissions to run"
"""What Redis and Valkey say of a right that a script lacks, as an error of no kind of its own."""

# Such a server says so and leaves. redis-py ignores the answer to its first command, so that most
# often all that is left to see is a connection that was reset.
PERHAPS = "One that resets connections may be in protected mode: give it a password."

ONE_NODE = "It is one node of a cluster: use redis+cluster:// in the URL."

REMEDIES: tuple[tuple[type[Exception], str], ...] = (
    (errors.AuthenticationError, "Check the user and the password in its URL."),
    (errors.AuthorizationError, "Check the rights of the user in its URL."),
    (errors.BusyLoadingError, "It is still loading its data: wait."),
    (errors.TimeoutError, "Check that it is not overloaded, the network, and TLS in its URL."),
    (errors.ConnectionError, f"Check that it runs, and its URL: host, port and TLS. {PERHAPS}"),
    (errors.NoPermissionError, f"Grant its user {RIGHTS}."),
    (errors.OutOfMemoryError, "Raise its maxmemory, or set maxmemory-policy volatile-ttl."),
    (errors.AskError, ONE_NODE),
    (errors.ClusterCrossSlotError, ONE_NODE),
    (errors.ReadOnlyError, "Give the URL of the primary, or of the Sentinels."),
    (errors.MasterDownError, "Its primary is down: give the URL of the Sentinels."),
    (errors.ClusterDownError, "Check the cluster: not all of its slots are served."),
    (
        errors.RedisClusterException,
        f"Check that its nodes run, its URL, and its user: {RIGHTS}. {PERHAPS}",
    ),
)
"""What to do about an error; the first that fits counts."""


def unavailable(error: Exception) -> StoreUnavailable:
    """Say what went wrong and what to do about it; redis-py's own texts hold no passwords."""
    text = str(error)
    remedy = next((text for kind, text in REMEDIES if isinstance(error, kind)), "See its log.")
    if text.startswith("DENIED"):
        remedy = PROTECTED
    elif any(said in text for said in OF_A_SCRIPT):
        remedy = f"Grant its user {RIGHTS}."
    unreachable: Unreachable | None = None
    if isinstance(error, (errors.ConnectionError, errors.TimeoutError, OSError)):
        crowded = "No connection available" in text or "Too many connections" in text
        unreachable = "crowded" if crowded else "part"
    elif isinstance(error, errors.RedisClusterException):
        unreachable = "whole"
    return StoreUnavailable(f"Redis: {text}", remedy, unreachable=unreachable)
