"""The Lua scripts in `lua/`, each of which is one atomic step."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

LUA = Path(__file__).with_name("lua")


def _with_parts(file: Path) -> str:
    """Return a script, with the files of `lua/parts/` that it includes."""
    return re.sub(
        "^-- include (.+)$",
        lambda found: _with_parts(LUA / "parts" / f"{found[1]}.lua"),
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )


SCRIPTS = {file.stem: _with_parts(file) for file in LUA.glob("*.lua")}

HASHES = {
    name: hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  # EVALSHA names a script so
    for name, script in SCRIPTS.items()
}
