"""A process's connection to a SQLite file: how its threads and other processes take turns."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import time
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ...errors import StoreUnavailable
from ...logs import ThrottledLog
from ...per_process import PerProcess
from ..base import of_newer_version
from .layout import FIND_VERSION, SCHEMA, VERSION

PRIVATE, SHARED = 0o600, 0o660
"""Modes of the file: its owner's alone, and what somebody must have chosen, to share it."""

WAL_SIZE = 2**23
"""Bytes to which the WAL shrinks again after somebody's long reading let it grow: twice as many as
SQLite lets it have before it writes it to the file."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""What the names of the files end in that SQLite makes beside it, with its mode."""


class Client:
    """Lends this process's one connection to the file `path`, made when first used.

    More would not be faster: nearly all calls write, and SQLite writes for one at a time. A call
    waits at most twice `timeout` seconds for others. If another file is at the path by now, or
    none, each process opens that: else some would go on with one that new processes do not see.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._patience = 2 * timeout
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._wal: tuple[int, int] | None = None
        self._pid = os.getpid()
        # Whoever can take the lock while this is true is its holder, and asks for a second turn.
        self._in_use = False
        self._lock = PerProcess(reentrant=True)
        _clients.add(self)

    @contextlib.contextmanager
    def connected(self) -> Generator[Execute]:
        """Lend the connection, and close it after any error."""
        deadline = time.monotonic() + self._patience
        with self._turn():
            try:
                if self._connection is not None and _file_at(self._path) != self._file:
                    self._leave_wal(deadline)
                    self._close()
                    ThrottledLog().tell(GONE, self._path)
                if self._connection is None:
                    self._connection = self._open(deadline)
                yield Execute(self._connection, deadline)
            except BaseException as error:
                self._close()
                if isinstance(error, (sqlite3.Error, OSError)):
                    raise _unavailable(self._path, error) from error
                raise

    @contextlib.contextmanager
    def disconnected(self) -> Generator[None]:
        """Close the connection, and lend none meanwhile; or do nothing, where it stays lent."""
        with contextlib.ExitStack() as turn:
            with contextlib.suppress(StoreUnavailable):
                turn.enter_context(self._turn())
                self._close()
            yield

    @contextlib.contextmanager
    def _turn(self) -> Generator[None]:
        """Take a turn; raises `StoreUnavailable` where none comes, at once where it never can."""
        lock = self._lock()
        if not lock.acquire(timeout=self._patience):
            remedy = "Use Redis for so many messages at once."
            raise StoreUnavailable("SQLite is busy", remedy, unreachable="turn")
        try:
            self._leave_parents()
            if self._in_use:
                why = "The garbage collector ended a stream while its thread was using SQLite"
                remedy = "Close streams that are not read to their end."
                raise StoreUnavailable(why, remedy, unreachable="turn")
            self._in_use = True
            try:
                yield
            finally:
                self._in_use = False
        finally:
            lock.release()

    def _leave_parents(self) -> None:
        """Never close what a fork copied that told nobody, such as uWSGI's."""
        if self._pid != os.getpid():
            _left_behind.append(self._connection)
            self._connection, self._pid, self._in_use = None, os.getpid(), False

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _leave_wal(self, deadline: float) -> None:
        """Remove the WAL of a file that is gone: SQLite would read it into the one in its place."""
        with _alone_in(self._path.parent, deadline):
            if self._wal is not None and _file_at(Path(_companions(self._path)[0])) == self._wal:
                _remove_companions(self._path)

    def _open(self, deadline: float) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _create(self._path, deadline)
        self._file = _file_at(self._path)  # before it is opened: one that comes between is noticed
        # Through sqlite3.connect() the agent would trace each statement, for more than it costs.
        connection = sqlite3.Connection(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        execute = Execute(connection, deadline)
        try:
            version, tables, is_ours = execute(FIND_VERSION).fetchone()
            if version != VERSION and is_ours:
                if version > VERSION:
                    raise of_newer_version(f"SQLite, {self._path}: it")
                raise sqlite3.DatabaseError(OLDER)
            if version != VERSION and tables:
                raise sqlite3.DatabaseError(f"not a database of ours, version {version}")
            _close_to_others(self._path)
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = NORMAL")
            execute("PRAGMA foreign_keys = ON")
            execute("PRAGMA secure_delete = ON")
            execute(f"PRAGMA journal_size_limit = {WAL_SIZE}")
            if version != VERSION:
                for statement in SCHEMA:
                    execute(statement)
            self._wal = _file_at(Path(_companions(self._path)[0]))
        except BaseException:
            connection.close()
            raise
        return connection


def _file_at(path: Path) -> tuple[int, int] | None:
    """Return which file is at a path: its device and number there; `None` if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _create(path: Path, deadline: float) -> None:
    """Make the file for its owner alone, if there is none; by itself SQLite would ask the umask.

    SQLite would also make what a link leads to, which somebody else may have laid there: a file
    of theirs to read it in, or one that has another meaning for this user.
    """
    if not path.exists():
        with (
            _alone_in(path.parent, deadline),
            contextlib.suppress(FileExistsError),
        ):  # or a link, anywhere
            if not os.path.lexists(path):
                _remove_companions(path)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    if not path.exists() or any(map(os.path.islink, _companions(path))):
        raise OSError("a symbolic link that is not followed")


def _remove_companions(path: Path) -> None:
    """Remove what lay beside a file that is gone: SQLite would take it for the new one's."""
    for each in _companions(path):
        if not os.path.islink(each):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)


@contextlib.contextmanager
def _alone_in(folder: Path, deadline: float) -> Generator[None]:
    """Keep other processes from doing the same in a folder, for a moment, where that is possible.

    On Windows it is not: there, no file can be removed that is open. Raises `OperationalError` if
    somebody else keeps the folder locked.
    """
    with contextlib.ExitStack() as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            lock.callback(os.close, handle)
            while not _locks(fcntl, handle):
                if time.monotonic() > deadline:
                    raise sqlite3.OperationalError("its folder is locked")
                _pause()
            lock.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a fork may have copied the handle
        yield


def _locks(fcntl: Any, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _close_to_others(path: Path) -> None:
    """Take the right to read from others, where an earlier version or a umask gave it."""
    for each in (str(path), *_companions(path)):
        with contextlib.suppress(OSError):  # it is not there, or not this user's
            mode = stat.S_IMODE(os.stat(each).st_mode)
            if mode & ~PRIVATE and mode != SHARED:
                os.chmod(each, PRIVATE)


def _companions(path: Path) -> list[str]:
    return [os.path.realpath(path) + ending for ending in COMPANIONS]


class Execute:
    """Executes statements on a connection, each in turn with other processes, until a deadline.

    SQLite's own waiting lets latecomers in first, does not wait at all on the way into WAL mode,
    and stops every greenlet of the process.
    """

    def __init__(self, connection: sqlite3.Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def __call__(self, statement: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Execute one statement; raises `sqlite3.OperationalError` where it may not wait longer."""
        while True:
            try:
                return self._connection.execute(statement, parameters)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > self._deadline:
                    raise
                _pause()


def _pause() -> None:
    """Wait for others; by chance, so that two do not meet again and again."""
    time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311  # it keeps nothing secret


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


def _unavailable(path: Path, error: Exception) -> StoreUnavailable:
    text = str(error)
    remedies = (remedy for mark, remedy in REMEDIES.items() if mark in text)
    remedy = next(remedies, "Check the file, its folder and its disk.")
    why = f"SQLite, {path}: {text}"
    return StoreUnavailable(why, remedy, unreachable="store" if "locked" in text else None)


_clients: weakref.WeakSet[Client] = weakref.WeakSet()

_forking = contextlib.ExitStack()

_one_fork = PerProcess()

_left_behind: list[object] = []
"""Connections of a parent's: to close one would undo, in the file, what the parent is writing."""


def _before_fork() -> None:
    """Leave a child nothing of SQLite's.

    It would take its parent's locks for its own: one that is held would block it for ever, and
    where the parent ends, nothing would keep others from removing the WAL file under it.
    """
    _forking.enter_context(_one_fork())
    for client in list(_clients):
        _forking.enter_context(client.disconnected())


with contextlib.suppress(AttributeError):  # of Windows, where nothing forks
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _forking.pop_all().close(),
        after_in_child=_forking.pop_all,
    )
