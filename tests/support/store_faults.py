"""What can go wrong with a store: the faults of a Redis server, and of a SQLite file."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import redis
from outage import PASSWORD, Site
from processes import free_port, wait_until
from redis_server import RedisServer

# A Redis server

Fault = Callable[[Site], AbstractContextManager[Any]]


def memory_is_full(site: Site) -> AbstractContextManager[None]:
    return site.told("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0")


def is_a_replica(site: Site) -> AbstractContextManager[None]:
    return site.told("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")


def wants_another_password(site: Site) -> AbstractContextManager[None]:
    return site.told("ACL SETUSER app resetpass >another", f"ACL SETUSER app resetpass >{PASSWORD}")


@contextmanager
def cannot_save(site: Site) -> Iterator[None]:
    """A folder is where its snapshot should be."""
    folder = site.server.directory / "dump.rdb"
    folder.mkdir()
    site.server.ask("CONFIG", "SET", "save", "3600 1000000")
    site.server.ask("BGSAVE")
    wait_until(
        lambda: site.server.info("persistence")["rdb_last_bgsave_status"] == "err", "an error"
    )
    try:
        yield
    finally:
        site.server.ask("CONFIG", "SET", "save", "")
        folder.rmdir()


@contextmanager
def has_an_orphaned_replica(site: Site) -> Iterator[None]:
    with (
        is_a_replica(site),
        site.told(
            "CONFIG SET replica-serve-stale-data no", "CONFIG SET replica-serve-stale-data yes"
        ),
    ):
        yield


@contextmanager
def is_loading(site: Site) -> Iterator[None]:
    """Another server has taken its place, and is still reading its data."""
    with tempfile.TemporaryDirectory() as directory:
        options = {
            "aclfile": site.users,
            "key_load_delay": 200,  # microseconds
            "loading_process_events_interval_bytes": 1024,
        }
        server = RedisServer(Path(directory), **options)
        try:
            server.start()
            server.ask("MSET", *range(40_000))
            server.ask("SAVE")
            server.kill()
            server.launch()
            wait_until(lambda: loads(server), "LOADING")
            with site.proxy.to(server.port):
                yield
        finally:
            server.kill()


def loads(server: RedisServer) -> bool:
    try:
        server.ask("PING")
    except redis.BusyLoadingError:
        return True
    except redis.ConnectionError:
        return False
    raise AssertionError("it has loaded its data already")


@contextmanager
def has_no_slots(site: Site) -> Iterator[None]:
    """Another server has taken its place, that waits to be given slots of a cluster."""
    with tempfile.TemporaryDirectory() as directory:
        options = {"cluster_enabled": "yes", "cluster_port": free_port(), "databases": 1}
        with (
            RedisServer(Path(directory), aclfile=site.users, **options) as server,
            site.proxy.to(server.port),
        ):
            yield


FAULTS: dict[str, tuple[Fault, str]] = {
    "frozen": (lambda site: site.server.frozen(), "overloaded"),
    "packets dropped": (lambda site: site.proxy.dropping(), "network"),
    "answers lost": (lambda site: site.proxy.losing_answers(), "network"),
    "refused": (lambda site: site.proxy.refusing(), "Check that it runs"),
    "wrong password": (wants_another_password, "password in its URL"),
    "read-only": (is_a_replica, "primary"),
    "out of memory": (memory_is_full, "maxmemory"),
    "loading": (is_loading, "loading"),
    "cluster down": (has_no_slots, "slots"),
    "orphaned": (has_an_orphaned_replica, "primary"),
    "too few replicas": (
        lambda site: site.told(
            "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"
        ),
        "min-replicas-to-write",
    ),
    "no permission": (
        lambda site: site.told("ACL SETUSER app -@all", "ACL SETUSER app +@all"),
        "Grant",
    ),
    "max clients": (
        lambda site: site.told("CONFIG SET maxclients 1", "CONFIG SET maxclients 10000"),
        "Raise its maxclients",
    ),
    "disk is full": (cannot_save, "It cannot write to its disk"),
}


# A SQLite file

HOLD_LOCKED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process is writing, and does not come to an end."""
    command = [sys.executable, "-c", HOLD_LOCKED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        yield
        process.communicate()


@contextmanager
def no_bytes_left(_: Path) -> Iterator[None]:
    """This process may write to no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}"
