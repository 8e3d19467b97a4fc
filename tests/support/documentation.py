"""The pages of the documentation, and the blocks of code in them.

A test takes a block with `block("page", "language", "words in it")`, all three written out:
test_documentation.py looks for these calls, and fails for a block that no test takes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from processes import environment

import feedback_blueprint

PACKAGE = Path(feedback_blueprint.__file__).parent
TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


def _pages() -> dict[str, Path]:
    top = [path for path in [ROOT / "README.md", *ROOT.glob(".github/*.md")] if path.exists()]
    folders = [*PACKAGE.rglob("README.md"), *TESTS.rglob("README.md")]
    return {path.stem: path for path in top} | {path.parent.name: path for path in folders}


#: By the name of their folder, or in the top folder and .github by their own.
PAGES = _pages()

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    language: str
    code: str


def text_of(page: str) -> str:
    return PAGES[page].read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    return [Block(*found) for found in FENCED.findall(text_of(page))]


def block(page: str, language: str, mark: str) -> str:
    """The one block of a page in a language that contains `mark`."""
    [code] = [code for kind, code in blocks_of(page) if kind == language and mark in code]
    return code


#: What comes first on the PATH where the commands of a page are run.
SCRIPTS = str(Path(sys.executable).parent)


def run(commands: str, directory: Path, env: Mapping[str, str] = {}, **instead: str) -> str:
    """Run commands as a reader would, with `instead` in place of hosts and folders of theirs."""
    for name, own in instead.items():
        commands = commands.replace(name, own)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-euc", commands],
        cwd=directory,
        env=environment(env) | {"PATH": os.pathsep.join([SCRIPTS, os.defpath])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def example(code: str, **names: Any) -> SimpleNamespace:
    """Run an example in Python with some names given; return all its names."""
    names["__name__"] = "example"
    exec(compile(code, "an example", "exec"), names)
    return SimpleNamespace(**names)
