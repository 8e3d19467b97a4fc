"""The house: which layer is above which, and who knows a library, is in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import lint_imports


def test_a_file_imports_only_from_layers_below(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert lint_imports(no_cache=True) == 0
