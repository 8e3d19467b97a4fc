"""The layers of the package, and which files may import a library, are in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINT = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"


def test_a_file_imports_only_from_layers_below():
    """In a process of its own, as it switches this one's loggers off."""
    lint = [sys.executable, "-c", LINT]
    done = subprocess.run(lint, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
