"""A real Chromium for tests, and axe-core to look at what it shows."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from processes import ToolMissingError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: WCAG 2.2 AA, with all that it includes.
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def need(package: str, module: str = "") -> None:
    if not importlib.util.find_spec(module or package.replace("-", "_")):
        raise ToolMissingError(f"no {package}: pip install {package}")


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        raise ToolMissingError("no chromium: install one")
    need("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def accessibility_problems(page: Page) -> list[str]:
    """What axe-core finds on the page as it is."""
    need("axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": WCAG, "resultTypes": ["violations"]}
    violations = Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {node['failureSummary']} {node['html']}"
        for rule in violations
        for node in rule["nodes"]
    ]
