"""What redis-py's errors mean, and what to do about them."""

from __future__ import annotations

from typing import cast

from redis import exceptions as errors

from ...errors import StoreUnavailable, Unreachable
from ..deadline import DEADLINE

FAILURES = (errors.RedisError, errors.RedisClusterException, OSError)
"""All that redis-py raises."""

RIGHTS = "+@read +@write +@scripting +@connection +time +info, in a cluster +cluster|slots"
"""What the user in a URL must be allowed, in the words of `ACL SETUSER`."""

IN_PROTECTED_MODE = (
    "in protected mode: give it a password (requirepass), and put that into its URL."
)

PROTECTED = f"It refuses other hosts, because it is {IN_PROTECTED_MODE}"

# Such a server says so and hangs up. redis-py ignores the answer to its first command, so most
# often we see only a connection that was reset.
PERHAPS_PROTECTED = f"One that resets connections may be {IN_PROTECTED_MODE}"

ONE_NODE = "It is one node of a cluster: use redis+cluster:// in the URL."

NO_SLOTS = "Check the cluster: not all of its slots are served."

SLOW_REMEDY = (
    "Check that it is not overloaded, the network, and TLS in its URL, or raise "
    "FEEDBACK_STORE_TIMEOUT."
)

GRANT = f"Grant its user {RIGHTS}."

MAX_TEXT = 300
"""Characters after which we cut an error's text: that of protected mode fills a page."""

REMEDIES_BY_TEXT: tuple[tuple[str, str], ...] = (
    ("DENIED", PROTECTED),
    ("can't run this command", GRANT),  # Redis, if a script lacks a right
    ("no permissions to run", GRANT),  # Valkey, for the same
    (
        "DB index is out of range",  # Valkey also says so if it is a node of a cluster
        "Name a database in its URL that it has, or raise its databases. "
        "For a cluster, use redis+cluster:// in it.",
    ),
    ("SELECT is not allowed", ONE_NODE),
    ("MOVED ", ONE_NODE),  # redis-py 5 hands on the words of a cluster
    ("CROSSSLOT ", ONE_NODE),
    ("CLUSTERDOWN ", NO_SLOTS),
    ("max number of clients", "Raise its maxclients, or let fewer processes connect to it."),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "Name the file of the authority that signed its certificate in its URL, ssl_ca_certs=... "
        "(for Sentinels also sentinel_ssl_ca_certs=...), and the host as the certificate does.",
    ),
    (
        "MISCONF",
        "It cannot write to its disk, and takes no more: see its log, make room there, and give it "
        "a dir of its own.",
    ),
    ("NOREPLICAS", "Start its replicas: it has fewer than min-replicas-to-write asks for."),
    (
        "No master found",
        "Check that its Sentinels run and have a primary, and its URL: hosts, ports, service and "
        f"TLS (options for the Sentinels begin with sentinel_). {PERHAPS_PROTECTED}",
    ),
)
"""What to do about an error that has no class of its own, by its text."""

REMEDIES_BY_TYPE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (errors.AuthenticationError, "Check the user and the password in its URL."),
    (errors.AuthorizationError, "Check the rights of the user in its URL."),
    (errors.BusyLoadingError, "It is still loading its data: wait."),
    ((errors.TimeoutError, TimeoutError), SLOW_REMEDY),
    (
        errors.ConnectionError,
        f"Check that it runs, and its URL: host, port and TLS. {PERHAPS_PROTECTED}",
    ),
    (errors.NoPermissionError, GRANT),
    (errors.OutOfMemoryError, "Raise its maxmemory, or set maxmemory-policy volatile-ttl."),
    (errors.AskError, ONE_NODE),
    (errors.ClusterCrossSlotError, ONE_NODE),
    (errors.ReadOnlyError, "Give the URL of the primary, or of the Sentinels."),
    (errors.MasterDownError, "Its primary is down: give the URL of the Sentinels."),
    (errors.ClusterDownError, NO_SLOTS),
    (
        errors.RedisClusterException,
        f"Check that its nodes run, its URL, and its user: {RIGHTS}. {PERHAPS_PROTECTED}",
    ),
)
"""What to do about an error, by its class; the first that fits counts."""


def unavailable(error: Exception) -> StoreUnavailable:
    """Say what went wrong and what to do about it; redis-py's texts hold no passwords."""
    if (
        isinstance(error, errors.RedisClusterException)
        and DEADLINE.get().is_over
        and error.__context__
    ):
        # After its last try at a node, redis-py asks the others, and there was no time for that.
        error = cast("Exception", error.__context__)
    text = str(error)
    shown = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} [...]"
    remedies = [remedy for said, remedy in REMEDIES_BY_TEXT if said in text]
    remedies += [remedy for kind, remedy in REMEDIES_BY_TYPE if isinstance(error, kind)]
    remedy = next(iter(remedies), "See its log.")
    unreachable: Unreachable | None = None
    if isinstance(error, (errors.ConnectionError, errors.TimeoutError, OSError)):
        crowded = "No connection available" in text or "Too many connections" in text
        unreachable = "turn" if crowded else "node"
    elif isinstance(error, errors.RedisClusterException):
        unreachable = "store"
    return StoreUnavailable(f"Redis: {shown}", remedy, unreachable=unreachable)


class _TranslatingErrors:
    """Raises `StoreUnavailable` for whatever redis-py raises in a `with` block."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, FAILURES):
            raise unavailable(error) from error


translating_errors = _TranslatingErrors()
"""One for all: each message and each vote passes through it."""
