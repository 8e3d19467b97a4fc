"""The files of a SQLite database: who makes them, who may read them, and where they are."""

from __future__ import annotations

import contextlib
import os
import random
import re
import sqlite3
import stat
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

PRIVATE, SHARED = 0o600, 0o660
"""Modes of the file: its owner's alone, and what somebody must have chosen, to share it."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""The endings of the files that SQLite makes beside the database, with its mode."""

MOUNTS = Path("/proc/mounts")
"""Linux's table of file systems (`man 5 fstab`); other systems have none."""

NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|afs|ceph|lustre|gfs2?|ocfs2|beegfs|ncpfs|davfs"
    r"|fuse\.(?:sshfs|glusterfs|ceph|davfs2?|rclone|s3fs|gcsfuse|goofys|mount-s3|juicefs|gvfsd-fuse)"
)
"""Types of file systems on other hosts, or on several: SQLite's WAL needs shared memory."""

FileID = tuple[int, int]
"""A file's device, and its number there."""


def file_at(path: str | Path) -> FileID | None:
    """Return which file is at a path; `None` if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def companions_of(path: Path) -> list[str]:
    """Return the paths of the files that SQLite makes beside the database, the WAL's first."""
    return [os.path.realpath(path) + ending for ending in COMPANIONS]


def create(path: Path, deadline: float) -> None:
    """Make the file for its owner alone, if there is none; SQLite itself would ask the umask.

    SQLite would also follow a link, which somebody else may have made: to a file of their own, to
    read what we write, or to a file that has another meaning for this user.
    """
    if not path.exists():
        with (
            alone_in(path.parent, deadline),
            contextlib.suppress(FileExistsError),  # another process was faster, or it is a link
        ):
            if not os.path.lexists(path):
                remove_companions(path)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    if not path.exists() or any(map(os.path.islink, companions_of(path))):
        raise OSError("a symbolic link that is not followed")


def remove_companions(path: Path) -> None:
    """Remove the companions of a file that is gone: SQLite would take them for the new file's."""
    for each in companions_of(path):
        if not os.path.islink(each):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)


def close_to_others(path: Path) -> None:
    """Take from others the right to read, which an earlier version or a umask gave them."""
    for each in (str(path), *companions_of(path)):
        with contextlib.suppress(OSError):  # it is not there, or another user's
            mode = stat.S_IMODE(os.stat(each).st_mode)
            if mode & ~PRIVATE and mode != SHARED:
                os.chmod(each, PRIVATE)


@contextlib.contextmanager
def alone_in(folder: Path, deadline: float) -> Generator[None]:
    """Keep other processes from doing the same in a folder; on Windows, do nothing.

    Windows lets nobody remove an open file. Raises `OperationalError` if somebody else keeps the
    folder locked beyond the `deadline`, which is by `time.monotonic()`.
    """
    with contextlib.ExitStack() as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            lock.callback(os.close, handle)
            while not _locks(fcntl, handle):
                if time.monotonic() > deadline:
                    raise sqlite3.OperationalError("its folder is locked")
                pause()
            lock.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a fork may have copied the handle
        yield


def _locks(fcntl: Any, handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def pause() -> None:
    """Wait for others, for a random time, so that two processes do not meet again and again."""
    time.sleep(random.uniform(0.0005, 0.002))  # noqa: S311  # it keeps nothing secret


def file_system(path: Path, table: Path = MOUNTS) -> str | None:
    """Return the type of the file system that a file is on; `None` if nothing tells it."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    real = path.resolve()
    found, depth = None, 0
    for line in lines:
        _, folder, kind, *_ = line.split(" ")
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), folder))
        # A later line covers what was mounted there before.
        if real.is_relative_to(mounted) and len(mounted.parts) >= depth:
            found, depth = kind, len(mounted.parts)
    return found
