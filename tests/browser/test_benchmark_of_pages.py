"""The one section of the benchmarks that is measured in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from needed import needed
from processes import ToolMissingError


def test_a_quick_run_measures_and_renders_pages(
    measured: Callable[..., dict[str, Any]],
) -> None:
    if "thumbs" not in measured("pages")["pages"]:
        with needed():
            raise ToolMissingError("no chromium: install one")
