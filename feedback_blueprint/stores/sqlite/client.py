"""A process's connection to a SQLite file: how its threads and other processes take turns."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import StoreUnavailable
from ...logs import warn
from ...per_process import PerProcess, new_lock, new_reentrant_lock
from ..base import of_newer_version
from ..deadline import TIMEOUTS_PER_CALL
from .files import (
    FileID,
    alone_in,
    close_to_others,
    companions_of,
    create,
    file_at,
    pause,
    remove_companions,
)
from .layout import FIND_VERSION, SCHEMA, VERSION

WAL_SIZE = 2**23
"""Bytes to which the WAL shrinks again after somebody's long reading let it grow. That is twice the
size at which SQLite writes it to the file."""


@dataclass
class OpenFile:
    """What one process has of the file: its connection, and which files that is connected to."""

    lock: threading.RLock = field(default_factory=new_reentrant_lock)
    connection: sqlite3.Connection | None = None
    file: FileID | None = None
    wal: FileID | None = None
    # If this is true, a thread that can take the lock holds it already, and asks for a second turn.
    is_in_use: bool = False

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Client:
    """Lends this process's one connection to the file `path`, made when first used.

    More connections would not be faster: nearly all calls write, and SQLite lets one write at a
    time. A call waits at most twice `timeout` seconds for others. If the file was removed or
    replaced, each process opens the one that is there now, or makes one. If they did not, new
    processes would use another file than old ones.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._max_wait = TIMEOUTS_PER_CALL * timeout
        # Some servers, such as uWSGI, fork without our hooks. A child must not close its copy of
        # the parent's connection: that would undo, in the file, what the parent is writing.
        self._open_file = PerProcess(OpenFile)
        _clients.add(self)

    @contextlib.contextmanager
    def connected(self) -> Generator[Execute]:
        """Lend the connection, and close it after any error."""
        deadline = time.monotonic() + self._max_wait
        with self._turn() as opened:
            try:
                if opened.connection is not None and file_at(self._path) != opened.file:
                    self._remove_wal(opened, deadline)
                    opened.close()
                    warn(GONE, self._path)
                yield Execute(opened.connection or self._open(opened, deadline), deadline)
            except BaseException as error:
                opened.close()
                if isinstance(error, (sqlite3.Error, OSError)):
                    raise _unavailable(self._path, error) from error
                raise

    @contextlib.contextmanager
    def disconnected(self) -> Generator[None]:
        """Close the connection, and lend none meanwhile; do nothing if it stays lent."""
        with contextlib.ExitStack() as turn:
            with contextlib.suppress(StoreUnavailable):
                turn.enter_context(self._turn()).close()
            yield

    @contextlib.contextmanager
    def _turn(self) -> Generator[OpenFile]:
        """Take a turn; raises `StoreUnavailable` if none comes, at once if none can come."""
        opened = self._open_file()
        if not opened.lock.acquire(timeout=self._max_wait):
            remedy = "Use Redis for so many messages at once."
            raise StoreUnavailable("SQLite is busy", remedy, unreachable="turn")
        try:
            if opened.is_in_use:
                why = "The garbage collector ended a stream while its thread was using SQLite"
                remedy = "Close streams that are not read to their end."
                raise StoreUnavailable(why, remedy, unreachable="turn")
            opened.is_in_use = True
            try:
                yield opened
            finally:
                opened.is_in_use = False
        finally:
            opened.lock.release()

    def _remove_wal(self, opened: OpenFile, deadline: float) -> None:
        """Remove the WAL of a file that is gone: SQLite would read it into the new file."""
        with alone_in(self._path.parent, deadline):
            if opened.wal is not None and file_at(companions_of(self._path)[0]) == opened.wal:
                remove_companions(self._path)

    def _open(self, opened: OpenFile, deadline: float) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        create(self._path, deadline)
        opened.file = file_at(self._path)  # before we open it, to notice one that comes between
        # The agent would trace each statement of sqlite3.connect(), for more than it costs.
        opened.connection = connection = sqlite3.Connection(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        execute = Execute(connection, deadline)
        version, tables, is_ours = execute(FIND_VERSION).fetchone()
        if version != VERSION and is_ours:
            if version > VERSION:
                raise of_newer_version(f"SQLite, {self._path}: it")
            raise sqlite3.DatabaseError(OLDER)
        if version != VERSION and tables:
            raise sqlite3.DatabaseError(f"not a database of ours, version {version}")
        close_to_others(self._path)
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("PRAGMA foreign_keys = ON")
        execute("PRAGMA secure_delete = ON")
        execute(f"PRAGMA journal_size_limit = {WAL_SIZE}")
        if version != VERSION:
            for statement in SCHEMA:
                execute(statement)
        opened.wal = file_at(companions_of(self._path)[0])
        return connection


class Execute:
    """Executes statements on a connection, each in turn with other processes, until a deadline.

    SQLite's own waiting lets latecomers in first, does not wait at all on the way into WAL mode,
    and stops every greenlet of the process.
    """

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def __call__(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute one statement; raises `sqlite3.OperationalError` if it may not wait longer."""
        while True:
            try:
                return self._connection.execute(statement, parameters)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > self._deadline:
                    raise
                pause()


GONE = (
    "SQLite, %s: the file was removed or replaced while the app ran. Messages that are not in the "
    "one that is there now cannot be rated: stop the app before you touch its file."
)

MOVE = "Move the file away, and start the app again."

OLDER = "it was written by an older version of feedback_blueprint"

REMEDIES = {
    OLDER: f"Run flask feedback deliver with that version. {MOVE}",
    "locked": "Another process keeps the file locked: end it, or raise FEEDBACK_STORE_TIMEOUT.",
    "full": "Make room on its disk.",
    "readonly": "Make the file and its folder writable for this user.",
    "unable to open": "Make the folder, writable for this user.",
    "Permission denied": "Make the file and its folder writable for this user.",
    "symbolic link": "See who made it, and remove it, or make the file that it leads to.",
    "not a database": f"It is not ours, or was damaged. {MOVE}",
    "malformed": f"It was damaged. {MOVE}",
}
"""What to do about an error, by its text; the first that fits counts."""


def _unavailable(path: Path, error: Exception) -> StoreUnavailable:
    text = str(error)
    remedies = (remedy for said, remedy in REMEDIES.items() if said in text)
    remedy = next(remedies, "Check the file, its folder and its disk.")
    why = f"SQLite, {path}: {text}"
    return StoreUnavailable(why, remedy, unreachable="store" if "locked" in text else None)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()

_forking = contextlib.ExitStack()

_one_fork = PerProcess(new_lock)


def _before_fork() -> None:
    """Leave a child nothing of SQLite's.

    It would take its parent's locks for its own. One that is held would block it for ever. And if
    the parent ends, nothing would keep others from removing the WAL that the child uses.
    """
    _forking.enter_context(_one_fork())
    for client in list(_clients):
        _forking.enter_context(client.disconnected())


with contextlib.suppress(AttributeError):  # on Windows, where nothing forks
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _forking.pop_all().close(),
        after_in_child=_forking.pop_all,
    )
