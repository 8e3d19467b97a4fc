"""A page with <message-feedback> in it, who visits it, and what is seen there."""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest
from gunicorn_server import Gunicorn, StartServer
from processes import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, Route


LOADS = re.compile(r"/llm/feedback\?")
RECORDED, RETRACTED, WAITING = "Recorded. Thank you.", "Taken back.", "Not sent yet"
COMMENTED = "Comment sent. Thank you."


def expect(locator: Locator) -> Any:
    from playwright.sync_api import expect  # a machine without it skips

    return expect(locator)


class Visitor:
    """One person with one browser profile; what the consoles complain of is kept."""

    def __init__(self, context: BrowserContext, port: int) -> None:
        self.context = context
        self.origin = f"http://127.0.0.1:{port}"
        self.log: list[str] = []
        self.sent: list[Request] = []
        context.on("request", self._note)
        context.on("console", lambda message: self.log.append(message.text))
        context.on("weberror", lambda error: self.log.append(str(error.error)))

    def _note(self, request: Request) -> None:
        if urlsplit(request.url).path.endswith("/feedback"):
            self.sent.append(request)

    def methods(self) -> list[str]:
        return [request.method for request in self.sent]

    def log_in(self, user: str | None) -> str:
        """Log in, or out, beside all pages; return the tag that new ones have."""
        return self.context.request.get(
            f"{self.origin}/login", params={"user": user} if user else {}
        ).text()

    def url(self, ids: list[str], attributes: str = "", **query: str) -> str:
        asked = {"ids": ",".join(ids), "attributes": attributes} | query
        return f"{self.origin}/page?{urlencode(asked)}"

    def open(self, *ids: str, attributes: str = "", **query: str) -> Page:
        """Open a page, and wait until its elements know what stands."""
        page = self.context.new_page()
        if not (ids or "unknown" in query) or "base-url" in attributes:
            page.goto(self.url(list(ids), attributes, **query))
            return page
        with page.expect_response(LOADS):
            page.goto(self.url(list(ids), attributes, **query))
        return page


def element(page: Page, number: int = 0) -> Locator:
    return page.locator("message-feedback").nth(number)


def button(page: Page, name: str, number: int = 0) -> Locator:
    return element(page, number).get_by_role("button", name=name, exact=True)


def good(page: Page, number: int = 0) -> Locator:
    return button(page, "Good reply", number)


def bad(page: Page, number: int = 0) -> Locator:
    return button(page, "Bad reply", number)


def says(page: Page, text: str, number: int = 0) -> None:
    expect(element(page, number).get_by_role("status")).to_contain_text(text)


def pressed(thumb: Locator, yes: bool = True) -> None:
    expect(thumb).to_have_attribute("aria-pressed", "true" if yes else "false")


def kept(page: Page) -> int:
    """How many votes wait to be acknowledged."""
    return page.evaluate(
        "Object.keys(localStorage).filter((k) => k.startsWith('feedback ')).length"
    )


def reload(page: Page) -> None:
    with page.expect_response(LOADS):
        page.reload()


def hold(page: Page) -> list[Route]:
    """Keep the next vote from the server, until the test lets it go."""
    held: list[Route] = []
    page.route("**/llm/feedback", lambda route: held.append(route), times=1)
    return held


def wait(page: Page, condition: Callable[[], Any], what: str) -> None:
    """Wait while the browser goes on."""
    wait_until(lambda: page.wait_for_timeout(10) or condition(), what)


@contextmanager
def frozen(server: Gunicorn) -> Iterator[int]:
    """Stop the worker in whatever it does."""
    pid = server.get("/").json["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


# Fixtures


@pytest.fixture(scope="module")
def element_server(browser: Browser, chat_server: StartServer) -> Iterator[Gunicorn]:
    with chat_server("element:app", threads=8) as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, element_server: Gunicorn) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 375, "height": 720})
    context.set_default_timeout(15_000)
    visitor = Visitor(context, element_server.port)
    yield visitor
    context.close()
    # An error of the network is the test's doing.
    complaints = [text for text in visitor.log if "Failed to load resource" not in text]
    assert complaints == []


@pytest.fixture
def new_id() -> str:
    return uuid.uuid4().hex
