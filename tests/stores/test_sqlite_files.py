"""Who may read the SQLite file and what lies beside it, and that no link leads it astray."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from feedback_blueprint.errors import StoreUnavailable
from feedback_blueprint.model import Message
from feedback_blueprint.stores import SQLiteStore
from feedback_blueprint.stores.sqlite import client as sqlite_client

MESSAGE = Message("a" * 32, content="what nobody else may read")


@pytest.fixture(autouse=True)
def generous_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def use(path: Path) -> SQLiteStore:
    """Keep a message, and the file open."""
    store = SQLiteStore(path, timeout=1)
    store.stash("m", MESSAGE, timedelta(days=1))
    return store


def modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}


def alike(mode: int) -> dict[str, int]:
    return dict.fromkeys(("f.db", "f.db-wal", "f.db-shm"), mode)


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    """From the first moment on, when SQLite has not been asked yet."""
    sqlite_client._create(tmp_path / "f.db", math.inf)
    assert modes(tmp_path) == {"f.db": 0o600}
    _open = use(tmp_path / "f.db")
    assert modes(tmp_path) == alike(0o600)


@pytest.mark.parametrize("mode", [0o644, 0o664, 0o640, 0o666])
def test_files_that_an_earlier_version_made_are_closed_to_others(tmp_path: Path, mode: int) -> None:
    earlier = use(tmp_path / "f.db")
    for each in tmp_path.iterdir():
        each.chmod(mode)
    later = SQLiteStore(tmp_path / "f.db", timeout=1)
    assert later.read(["m"], [b""])[0] is not None
    assert modes(tmp_path) == alike(0o600)
    assert earlier.read(["m"], [b""])[0] is not None


def test_a_file_that_is_shared_with_its_group_stays_so(tmp_path: Path) -> None:
    (tmp_path / "f.db").touch(0o660)
    _open = use(tmp_path / "f.db")
    assert modes(tmp_path) == alike(0o660)


def test_a_file_that_is_not_ours_keeps_its_mode(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "f.db") as connection:
        connection.execute("CREATE TABLE users (name)")
    (tmp_path / "f.db").chmod(0o644)
    with pytest.raises(StoreUnavailable, match="not a database of ours"):
        use(tmp_path / "f.db")
    assert modes(tmp_path)["f.db"] == 0o644


@pytest.mark.parametrize(
    ("version", "whose", "remedy"),
    [(99, "a newer", "Install that version again"), (1, "an older", "flask feedback deliver")],
)
def test_a_file_of_another_version_of_ours_is_not_called_damaged(
    tmp_path: Path, version: int, whose: str, remedy: str
) -> None:
    """To move a file away that a newer version wrote would lose all that is in it."""
    use(tmp_path / "f.db")
    with sqlite3.connect(tmp_path / "f.db") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreUnavailable, match=f"it was written by {whose} version") as refused:
        use(tmp_path / "f.db")
    assert remedy in refused.value.remedy
    with sqlite3.connect(tmp_path / "f.db") as connection:
        assert connection.execute("SELECT key FROM messages").fetchall() == [("m",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_of_another_user_is_used_as_it_is() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        folder = Path(directory)
        folder.chmod(0o777)
        (folder / "f.db").touch(0o666)
        os.seteuid(65534)
        try:
            _open = use(folder / "f.db")
        finally:
            os.seteuid(0)
        assert modes(folder) == alike(0o666)


@pytest.mark.parametrize("name", ["f.db", "f.db-wal", "f.db-shm", "f.db-journal"])
def test_a_dangling_symlink_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreUnavailable, match="symbolic link") as refused:
        use(tmp_path / "f.db")
    assert "remove it" in refused.value.remedy
    assert not (tmp_path / "theirs").exists()
    (tmp_path / name).unlink()
    use(tmp_path / "f.db")


def test_a_link_to_a_file_is_followed_but_none_beside_that(tmp_path: Path) -> None:
    release, shared = tmp_path / "release", tmp_path / "shared"
    release.mkdir()
    use(shared / "f.db")
    (shared / "f.db").chmod(0o644)
    (release / "link.db").symlink_to(shared / "f.db")
    assert SQLiteStore(release / "link.db", timeout=1).read(["m"], [b""])[0] is not None
    assert modes(shared)["f.db"] == 0o600
    (shared / "f.db-wal").unlink(missing_ok=True)
    (shared / "f.db-wal").symlink_to(tmp_path / "theirs")
    with pytest.raises(StoreUnavailable, match="symbolic link"):
        SQLiteStore(release / "link.db", timeout=1).read(["m"], [b""])
