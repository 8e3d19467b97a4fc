"""<message-feedback> for everybody: by keyboard, to a screen reader, in any language."""

from __future__ import annotations

from typing import Any

import pytest
from browser import accessibility_problems
from collector import Collector
from conftest import needed
from element_page import RECORDED, Visitor, bad, button, element, expect, good, hold, pressed, says


def test_the_keyboard_alone(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id, attributes="categories='wrong,rude'")
    keys = page.keyboard
    keys.press("Tab")
    expect(good(page)).to_be_focused()
    keys.press("Tab")
    expect(bad(page)).to_be_focused()
    outline = bad(page).evaluate("thumb => getComputedStyle(thumb).outlineStyle")
    assert outline == "solid"
    keys.press("Space")
    says(page, RECORDED)
    keys.press("Tab")
    keys.press("Tab")
    expect(button(page, "rude")).to_be_focused()
    keys.press("Enter")
    says(page, RECORDED)
    keys.press("Tab")
    keys.type("Who wrote that?")
    keys.press("Tab")
    expect(button(page, "Send comment")).to_be_focused()
    keys.press("Enter")
    [event] = collector.wait_for(message_id=new_id, message="Who wrote that?")
    assert (event["rating"], event["category"]) == ("bad", "rude")


def test_focus_is_not_lost_when_the_comment_goes(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    held = hold(page)
    good(page).click()
    element(page).get_by_label("Comment on this reply").type("I was just")
    held[0].fulfill(status=404, json={"code": "unknown-message", "detail": "It is gone."})
    says(page, "It is gone.")
    expect(good(page)).to_be_focused()
    good(page).click()
    expect(element(page).get_by_label("Comment on this reply")).to_have_value("I was just")


@pytest.mark.parametrize("attributes", ["categories='wrong,rude'", "ratings=1-5"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visitor: Visitor, new_id: str, scheme: Any, attributes: str) -> None:
    page = visitor.context.new_page()
    page.emulate_media(color_scheme=scheme)
    page.goto(visitor.url([new_id, new_id + "-2"], attributes, unknown="gone"))
    element(page).get_by_role("button").first.click()
    says(page, RECORDED)
    element(page).get_by_role("textbox").fill("x" * 5000)
    says(page, "too long")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    with needed():
        assert accessibility_problems(page) == []


def test_any_language_in_any_direction(visitor: Visitor, new_id: str) -> None:
    attributes = (
        "text-up='Gute Antwort' text-comment='Was meinen Sie?' text-send='Senden' "
        "text-accepted='Danke!' text-refused='Nicht gespeichert:' categories='wrong=falsch' "
        "text-unknown-message='Die Antwort ist zu alt.'"
    )
    page = visitor.open(new_id, attributes=attributes, lang="de")
    button(page, "Gute Antwort").click()
    says(page, "Danke!")
    expect(button(page, "falsch")).to_be_visible()
    expect(button(page, "Senden")).to_be_visible()
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(
            status=404, json={"code": "unknown-message", "detail": "In English."}
        ),
    )
    bad(page).click()
    says(page, "Nicht gespeichert: Die Antwort ist zu alt.")
    element(page).evaluate("element => element.setAttribute('text-up', 'Bonne réponse')")
    pressed(button(page, "Bonne réponse"))

    page = visitor.open(new_id, script="german.js")
    pressed(button(page, "Schlechte Antwort"), False)

    page = visitor.open(new_id, attributes="text-up='إجابة جيدة'", lang="ar", dir="rtl")
    thumb = button(page, "إجابة جيدة").bounding_box()
    assert thumb
    assert thumb["x"] > 300, "it begins at the right"
