"""The Lua scripts, each of which is one atomic step."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

LUA = Path(__file__).with_name("lua")


def _script(name: str) -> str:
    """Return a script of `lua/`, with what it includes."""
    text = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    return re.sub("^-- include (.+)$", lambda found: _script(found[1]), text, flags=re.MULTILINE)


STASH = _script("stash")
AMEND = _script("amend")
PEEK = _script("peek")
READ = _script("read")
VOTE = _script("vote")
TAKE = _script("take")
UNMARK = _script("unmark")
EXPORT = _script("export")
FORGET = _script("forget")
ANNOUNCE = _script("announce")

HASHES = {
    script: hashlib.sha1(script.encode()).hexdigest()  # noqa: S324  # EVALSHA names a script so
    for script in (ANNOUNCE, STASH, PEEK, VOTE, AMEND, EXPORT, FORGET)
}
