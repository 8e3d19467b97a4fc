"""redis-py: what its errors mean, and what to do about them."""

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

PROTECTED = f"It refuses other hosts, as it is {IN_PROTECTED_MODE}"

# Such a server says so and leaves. redis-py ignores the answer to its first command, so that most
# often all that is left to see is a connection that was reset.
PERHAPS = f"One that resets connections may be {IN_PROTECTED_MODE}"

ONE_NODE = "It is one node of a cluster: use redis+cluster:// in the URL."

NO_SLOTS = "Check the cluster: not all of its slots are served."

SLOW = (
    "Check that it is not overloaded, the network, and TLS in its URL, or raise "
    "FEEDBACK_STORE_TIMEOUT."
)

GRANT = f"Grant its user {RIGHTS}."

LONG = 300
"""Characters after which an error's text is cut: that of protected mode is a page."""

SAID: tuple[tuple[str, str], ...] = (
    ("DENIED", PROTECTED),
    ("can't run this command", GRANT),  # of a right that a script lacks, in Redis
    ("no permissions to run", GRANT),  # and in Valkey
    ("DB index is out of range", "Name a database in its URL that it has, or raise its databases."),
    ("SELECT is not allowed", ONE_NODE),
    ("MOVED ", ONE_NODE),  # as redis-py 5 hands on what a cluster says
    ("CROSSSLOT ", ONE_NODE),
    ("CLUSTERDOWN ", NO_SLOTS),
    ("max number of clients", "Raise its maxclients, or let fewer processes connect to it."),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "Name the file of the authority that signed its certificate in its URL, ssl_ca_certs=... "
        "(for Sentinels sentinel_ssl_ca_certs=..., too), and the host as the certificate does.",
    ),
    (
        "MISCONF",
        "It cannot write to its disk, and takes no more: see its log, make room there, and have "
        "its dir be its own.",
    ),
    ("NOREPLICAS", "Start its replicas: it has fewer than min-replicas-to-write asks for."),
    (
        "No master found",
        "Check that its Sentinels run and have a primary, and its URL: hosts, ports, service and "
        f"TLS, of which the options for Sentinels begin with sentinel_. {PERHAPS}",
    ),
)
"""What to do about an error that is of no kind of its own, by what is said in it."""

REMEDIES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (errors.AuthenticationError, "Check the user and the password in its URL."),
    (errors.AuthorizationError, "Check the rights of the user in its URL."),
    (errors.BusyLoadingError, "It is still loading its data: wait."),
    ((errors.TimeoutError, TimeoutError), SLOW),
    (errors.ConnectionError, f"Check that it runs, and its URL: host, port and TLS. {PERHAPS}"),
    (errors.NoPermissionError, GRANT),
    (errors.OutOfMemoryError, "Raise its maxmemory, or set maxmemory-policy volatile-ttl."),
    (errors.AskError, ONE_NODE),
    (errors.ClusterCrossSlotError, ONE_NODE),
    (errors.ReadOnlyError, "Give the URL of the primary, or of the Sentinels."),
    (errors.MasterDownError, "Its primary is down: give the URL of the Sentinels."),
    (errors.ClusterDownError, NO_SLOTS),
    (
        errors.RedisClusterException,
        f"Check that its nodes run, its URL, and its user: {RIGHTS}. {PERHAPS}",
    ),
)
"""What to do about an error; the first that fits counts."""


def unavailable(error: Exception) -> StoreUnavailable:
    """Say what went wrong and what to do about it; redis-py's own texts hold no passwords."""
    if (
        isinstance(error, errors.RedisClusterException)
        and DEADLINE.get().is_over
        and error.__context__
    ):
        # After its last try at a node, redis-py asks the others, for which there was no time.
        error = cast("Exception", error.__context__)
    text = str(error)
    shown = text if len(text) <= LONG else f"{text[:LONG]} [...]"
    remedies = [remedy for said, remedy in SAID if said in text]
    remedies += [remedy for kind, remedy in REMEDIES if isinstance(error, kind)]
    remedy = next(iter(remedies), "See its log.")
    unreachable: Unreachable | None = None
    if isinstance(error, (errors.ConnectionError, errors.TimeoutError, OSError)):
        crowded = "No connection available" in text or "Too many connections" in text
        unreachable = "turn" if crowded else "node"
    elif isinstance(error, errors.RedisClusterException):
        unreachable = "store"
    return StoreUnavailable(f"Redis: {shown}", remedy, unreachable=unreachable)
