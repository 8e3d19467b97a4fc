"""Quick runs of the benchmarks' sections: they measure little, and show that all of it works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from needed import needed
from redis_server import redis_binary

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def import_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Import a module of the benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


@pytest.fixture
def measured(
    import_benchmark: Callable[[str], ModuleType], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Measure sections, see them on the page, and return their figures."""

    def measured(*sections: str) -> dict[str, Any]:
        figures = import_benchmark("figures")
        with needed():
            redis_binary()
        command = [sys.executable, BENCHMARKS / "figures.py", *sections, "--quick"]
        command += ["--into", tmp_path]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        found = figures.read(tmp_path / "figures.json")
        assert list(found) == list(sections)
        page = (tmp_path / "README.md").read_text()
        for section in sections:
            assert "\n".join(figures.blocks(found)[section]) in page
            assert found[section]["date"] in page
        return {section: found[section]["figures"] for section in sections}

    return measured
