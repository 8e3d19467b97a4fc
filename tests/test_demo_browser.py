"""The demo's page in a real Chromium: chat, press a thumb, see the event."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from conftest import needed
from servers import ToolMissingError
from test_demo import Demo, demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

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


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        raise ToolMissingError("no chromium: install one")
    if not importlib.util.find_spec("playwright"):
        raise ToolMissingError("no playwright: pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with needed(), chromium() as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with demo(tmp_path_factory.mktemp("demo"), {}) as started:
        yield started


@pytest.fixture
def page(browser: Browser, running: Demo) -> Iterator[Page]:
    """The page, as wide as a phone; what the console complains of, a CSP too, is a failure."""
    page = browser.new_page(viewport={"width": 375, "height": 720})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"http://127.0.0.1:{running.port}/")
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    page.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def test_chat_vote_see_the_event(page: Page) -> None:
    from playwright.sync_api import expect

    page.get_by_label("Your message").fill("Which trace is this?")
    page.keyboard.press("Enter")
    thumb = page.get_by_role("button", name="Good reply")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Recorded. Thank you.")).to_be_visible()
    expect(fact(page, "rating")).to_have_text("good")
    expect(fact(page, "revision")).to_have_text("1")
    assert len(fact(page, "trace_id").inner_text()) == 32

    comment = page.get_by_label("Comment on this reply")
    comment.fill("It is this one.")
    comment.press("Enter")
    expect(fact(page, "message")).to_have_text("It is this one.")
    expect(fact(page, "revision")).to_have_text("2")

    page.reload()
    expect(page.get_by_text("You said “Which trace is this?”.")).to_be_visible()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    expect(comment).to_have_value("It is this one.")

    thumb.click()
    expect(page.get_by_text("Taken back.")).to_be_visible()
    expect(thumb).to_have_attribute("aria-pressed", "false")
    expect(fact(page, "retracted")).to_have_text("true")


def test_what_is_refused_is_rolled_back_and_explained(page: Page) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Can I change my mind?").click()
    good = page.get_by_role("button", name="Good reply")
    bad = page.get_by_role("button", name="Bad reply")
    good.click()
    expect(fact(page, "revision")).to_have_text("1")

    comment = page.get_by_label("Comment on this reply")
    comment.fill("é" * 2048)
    comment.press("Enter")
    expect(page.get_by_text("4095 bytes")).to_be_visible()
    expect(comment).to_have_value("é" * 2048)

    page.context.set_offline(True)
    bad.click()
    expect(page.get_by_text("The server cannot be reached")).to_be_visible()
    expect(bad).to_have_attribute("aria-pressed", "false")
    expect(good).to_have_attribute("aria-pressed", "true")
    expect(fact(page, "revision")).to_have_text("1")


def fact(page: Page, name: str) -> Locator:
    """One attribute of the event that the page shows."""
    return page.locator(f".event dt:text-is('{name}') + dd")
