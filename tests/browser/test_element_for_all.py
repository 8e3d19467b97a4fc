"""<message-feedback> for everybody: by keyboard, to a screen reader, in any language."""

from __future__ import annotations

from typing import Any

import pytest
from browser import accessibility_problems
from element_page import (
    RECORDED,
    RETRACTED,
    Visitor,
    bad,
    button,
    element,
    expect,
    good,
    hold,
    pressed,
    says,
)
from needed import needed


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
def test_the_element_has_no_accessibility_problem(
    visitor: Visitor, new_id: str, scheme: Any, attributes: str
) -> None:
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


def test_forced_colours_tell_what_is_chosen_and_what_cannot_be(
    visitor: Visitor, new_id: str
) -> None:
    page = visitor.context.new_page()
    page.emulate_media(forced_colors="active")
    page.goto(visitor.url([new_id], "categories='wrong,rude'", unknown="gone"))
    good(page).click()
    button(page, "rude").click()
    style = "button => { const {opacity, backgroundColor} = getComputedStyle(button); "
    style += "return [opacity, backgroundColor] }"
    chosen, other = (button(page, name).evaluate(style) for name in ("rude", "wrong"))
    assert chosen != other
    pressed(button(page, "rude"))
    assert good(page, 1).evaluate(style)[0] == "1"
    assert button(page, "Send comment").evaluate(style)[0] == "1"


def test_nothing_moves(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    moving = """element => [...element.shadowRoot.querySelectorAll("*")].filter((each) => {
        const {transitionDuration, animationName} = getComputedStyle(each);
        return transitionDuration !== "0s" || animationName !== "none";
    }).length"""
    assert element(page).evaluate(moving) == 0


def test_a_comment_is_printed_unless_it_is_empty(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    comment = element(page).get_by_role("textbox")
    page.emulate_media(media="print")
    expect(comment).to_be_hidden()
    expect(button(page, "Send comment")).to_be_hidden()
    expect(good(page)).to_be_visible()
    page.emulate_media(media="screen")
    comment.fill("Words")
    page.emulate_media(media="print")
    expect(comment).to_be_visible()


def test_twice_the_text_size_fits_a_phone(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes="categories='beside the point entirely, rude'")
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    good(page).click()
    element(page).get_by_role("textbox").fill("w" * 3800)
    expect(element(page).locator("[part=count]")).to_be_visible()
    inside = "[...element.shadowRoot.querySelectorAll('*')]"
    ends = f"element => {inside}.map((part) => part.getBoundingClientRect().right)"
    assert max(element(page).evaluate(ends)) <= 375


def test_a_browser_that_lacks_newer_functions_can_vote_and_take_back(
    visitor: Visitor, new_id: str
) -> None:
    visitor.context.add_init_script("""
        delete AbortSignal.timeout;
        delete Intl.Segmenter;
        for (const name of ["ariaPressed", "ariaLabel", "ariaInvalid", "ariaDisabled"]) {
            delete Element.prototype[name];
        }
    """)
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    pressed(good(page))
    fill = good(page).locator("svg").evaluate("svg => getComputedStyle(svg).fill")
    assert fill != "none"
    good(page).click()
    says(page, RETRACTED)
    pressed(good(page), False)
    bad(page).click()
    element(page).get_by_role("textbox").fill("é" * 2048)
    expect(element(page).get_by_text("Characters too many: 1", exact=True)).to_be_visible()


def test_its_texts_are_in_any_language(visitor: Visitor, new_id: str) -> None:
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


def test_it_begins_at_the_right_in_a_language_that_does(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes="text-up='إجابة جيدة'", lang="ar", dir="rtl")
    thumb = button(page, "إجابة جيدة").bounding_box()
    assert thumb
    assert thumb["x"] > 300
