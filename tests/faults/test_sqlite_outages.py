"""Every way in which a SQLite file fails: the chat goes on, a vote is refused, then all is well."""

from __future__ import annotations

import gc
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from outage import Chat, soon, suffer
from store_faults import locked, no_bytes_left, sqlite_url

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.testing import capture_feedback


@pytest.mark.parametrize(
    ("fault", "remedy"), [(locked, "locked"), (no_bytes_left, "disk")], ids=["locked", "no-bytes"]
)
def test_a_file_fails_and_comes_back(
    tmp_path: Path,
    complaints: Callable[[], list[str]],
    fault: Callable[[Path], AbstractContextManager[None]],
    remedy: str,
) -> None:
    path = tmp_path / "feedback.db"
    suffer(Chat(sqlite_url(path)), fault(path), complaints, remedy)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, if this user can make one."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can make a small disk")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_costs_no_answer(small_disk: Path, complaints: Callable[[], list[str]]) -> None:
    @contextmanager
    def filled() -> Iterator[None]:
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as output, suppress(OSError):
            while True:
                output.write(bytes(1024))
        yield
        filler.unlink()

    suffer(Chat(sqlite_url(small_disk / "feedback.db")), filled(), complaints, "Make room")


def test_a_folder_that_is_a_file_costs_no_answer(
    tmp_path: Path, complaints: Callable[[], list[str]]
) -> None:
    folder = tmp_path / "folder"

    @contextmanager
    def in_the_way() -> Iterator[None]:
        folder.write_text("a file")
        yield
        folder.unlink()

    chat = Chat(sqlite_url(folder / "feedback.db"))
    suffer(chat, in_the_way(), complaints, "folder", from_the_start=True)


@pytest.mark.parametrize("exists", [False, True], ids=["no-file-yet", "file"])
def test_a_read_only_folder_costs_no_answer(
    complaints: Callable[[], list[str]], exists: bool
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "feedback.db"
        if exists:
            earlier = Chat(sqlite_url(path))
            with capture_feedback(earlier.app):
                assert earlier.chat()
            del earlier
            gc.collect()  # it has the file open

        @contextmanager
        def read_only() -> Iterator[None]:
            modes = [(each, each.stat().st_mode) for each in (path.parent, *path.parent.iterdir())]
            for each, _ in modes:
                each.chmod(0o555 if each.is_dir() else 0o444)
            if is_root := os.geteuid() == 0:  # who may write anywhere
                os.seteuid(65534)
            try:
                yield
            finally:
                if is_root:
                    os.seteuid(0)
                for each, mode in modes:
                    each.chmod(mode)

        chat = Chat(sqlite_url(path))
        suffer(chat, read_only(), complaints, "writable", from_the_start=True)


def database(path: Path) -> None:
    chat = Chat(sqlite_url(path))
    with capture_feedback(chat.app):
        for _ in range(200):
            chat.chat()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def nonsense(path: Path) -> None:
    path.write_bytes(b"what somebody else wrote, and still needs " * 1000)


def torn(path: Path) -> None:
    """A database whose first page is whole, and no other."""
    database(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + os.urandom(len(content) - 4096))


def cut_short(path: Path) -> None:
    database(path)
    with path.open("rb+") as file:
        file.truncate(5000)


def somebody_elses(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE messages (text)")
        connection.execute("INSERT INTO messages VALUES ('theirs')")


def numbered_by_another_app(path: Path) -> None:
    """A file of another app, which counts its migrations in `user_version`."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE users (name)")
        connection.execute("PRAGMA user_version = 7")


@pytest.mark.parametrize(
    "damage", [nonsense, torn, cut_short, somebody_elses, numbered_by_another_app]
)
def test_a_file_that_is_not_ours_is_left_as_it_is(
    tmp_path: Path, complaints: Callable[[], list[str]], damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "feedback.db"
    damage(path)
    for extra in tmp_path.glob("feedback.db-*"):
        extra.unlink()
    content = path.read_bytes()

    @contextmanager
    def damaged() -> Iterator[None]:
        yield
        assert path.read_bytes() == content
        path.rename(tmp_path / "moved away")

    chat = Chat(sqlite_url(path))
    suffer(chat, damaged(), complaints, "Move the file away", from_the_start=True)


# One connection for all


def test_whose_turn_does_not_come_is_refused(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=0.01)
    with ThreadPoolExecutor(1) as another, store._connected():
        refused = another.submit(store.read, ["m"], [b""]).exception()
    assert isinstance(refused, StoreUnavailable)
    assert refused.unreachable == "turn"
    assert store.read(["m"], [b""]) == [None]


def test_who_asks_in_the_midst_of_its_own_call_is_refused_at_once(tmp_path: Path) -> None:
    """As streams do that the garbage collector ends there, with their text to be kept."""
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=5)
    with store._connected() as execute:
        with soon(), pytest.raises(StoreUnavailable, match="Close streams") as refused:
            store.read(["m"], [b""])
        assert execute("SELECT 1").fetchone() == (1,), "the connection is still the first one's"
    assert refused.value.unreachable == "turn"
    assert store.read(["m"], [b""]) == [None]


def test_who_is_interrupted_leaves_the_others_a_connection(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "feedback.sqlite3", timeout=0.01)
    with pytest.raises(KeyboardInterrupt), store._connected():
        raise KeyboardInterrupt
    assert store.read(["m"], [b""]) == [None]
