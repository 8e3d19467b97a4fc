"""The demo's page in a real Chromium: chat, press a thumb, see the event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from browser import accessibility_problems
from needed import needed
from running_demo import Demo, demo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page


@pytest.fixture(scope="module")
def running(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
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


def ask(page: Page) -> Locator:
    """Ask the demo something; return the thumb below its answer."""
    page.get_by_label("Your message").fill("Which trace is this?")
    page.keyboard.press("Enter")
    return page.get_by_role("button", name="Good reply")


def test_a_vote_shows_its_event(page: Page) -> None:
    from playwright.sync_api import expect

    thumb = ask(page)
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Recorded. Thank you.")).to_be_visible()
    expect(fact(page, "rating")).to_have_text("good")
    expect(fact(page, "revision")).to_have_text("1")
    assert len(fact(page, "trace_id").inner_text()) == 32

    page.get_by_role("button", name="to the point").click()
    expect(fact(page, "category")).to_have_text("to the point")
    comment = page.get_by_label("Comment on this reply")
    comment.fill("It is this one.")
    page.get_by_role("button", name="Send comment").click()
    expect(fact(page, "message")).to_have_text("It is this one.")
    expect(fact(page, "category")).to_have_text("to the point")
    expect(fact(page, "revision")).to_have_text("3")


def test_a_reload_shows_the_conversation_and_the_vote_again(page: Page) -> None:
    from playwright.sync_api import expect

    thumb, comment = ask(page), page.get_by_label("Comment on this reply")
    thumb.click()
    comment.fill("It is this one.")
    page.get_by_role("button", name="Send comment").click()
    expect(fact(page, "message")).to_have_text("It is this one.")
    page.reload()
    expect(page.get_by_text("You said “Which trace is this?”.")).to_be_visible()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Say more").click()
    expect(comment).to_have_value("It is this one.")

    thumb.click()
    expect(page.get_by_text("Taken back.")).to_be_visible()
    expect(thumb).to_have_attribute("aria-pressed", "false")
    page.locator(".event summary").click()  # it is folded since the page was loaded
    expect(fact(page, "retracted")).to_have_text("true")


def test_questions_are_offered_until_one_is_asked(page: Page) -> None:
    from playwright.sync_api import expect

    ask(page)
    offered = page.locator("#log .questions").get_by_role("button")
    expect(offered).to_have_count(3)
    page.reload()
    expect(offered).to_have_count(3)
    offered.first.click()
    expect(offered).to_have_count(0)
    expect(page.locator("message-feedback")).to_have_count(2)


def test_only_the_event_of_the_first_vote_is_open(page: Page) -> None:
    from playwright.sync_api import expect

    ask(page).click()
    expect(fact(page, "trace_id")).to_be_visible()
    page.locator("#log .questions").get_by_role("button").first.click()
    thumbs = page.get_by_role("button", name="Good reply")
    expect(thumbs).to_have_count(2)
    thumbs.last.click()
    expect(page.locator(".event").last).to_be_visible()
    expect(fact(page, "trace_id").last).to_be_hidden()


def test_without_a_network_nothing_is_claimed(page: Page) -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Can I change my mind?").click()
    bad = page.get_by_role("button", name="Bad reply")
    expect(bad).to_be_visible()
    page.context.set_offline(True)
    bad.click()
    expect(page.get_by_text("The server cannot be reached")).to_be_visible()
    expect(page.get_by_text("LlmFeedbackMessage")).to_be_hidden()
    page.context.set_offline(False)
    expect(fact(page, "rating")).to_have_text("bad")


@pytest.mark.parametrize("width", [375, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_demo_has_no_accessibility_problem(page: Page, scheme: Any, width: int) -> None:
    from playwright.sync_api import expect

    page.set_viewport_size({"width": width, "height": 720})
    page.emulate_media(color_scheme=scheme)
    with needed():
        assert accessibility_problems(page) == []
    page.get_by_role("button", name="What is a trace ID good for?").click()
    page.get_by_role("button", name="Good reply").click()
    expect(fact(page, "rating")).to_have_text("good")
    assert accessibility_problems(page) == []
    page.set_viewport_size({"width": 375, "height": 720})


def fact(page: Page, name: str) -> Locator:
    """One attribute of the event that the page shows."""
    return page.locator(f".event dt:text-is('{name}') + dd")
