"""<message-feedback> in a real Chromium, against gunicorn with the real blueprint: votes."""

from __future__ import annotations

from collector import Collector
from element_page import (
    COMMENTED,
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
    wait,
)

FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"  # to a person one character, of 18 bytes


def test_a_held_key_is_one_vote(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).focus()
    for _ in range(4):  # an even number of votes would take the first one back
        page.keyboard.down("Enter")  # from the second on, as a held key repeats it
    says(page, RECORDED)
    pressed(good(page))
    assert visitor.methods() == ["GET", "POST"]


def test_only_the_last_of_quick_changes_follows_the_first(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    held = hold(page)
    good(page).click()
    wait(page, lambda: held, "the first vote")
    for thumb in bad(page), good(page), bad(page):
        thumb.click()
        pressed(thumb)
    held[0].continue_()
    says(page, RECORDED)
    pressed(bad(page))
    events = collector.wait_for(2, message_id=new_id)
    assert [event["rating"] for event in events] == ["good", "bad"]
    assert visitor.methods() == ["GET", "POST", "POST"]


def test_a_comment_outlives_a_change_of_reason_and_goes_with_its_vote(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id, attributes="categories='wrong, too long=Too long'")
    bad(page).click()
    comment = element(page).get_by_label("Comment on this reply")
    comment.fill("half a thou")
    button(page, "Too long").click()
    pressed(button(page, "Too long"))
    expect(comment).to_have_value("half a thou")
    comment.fill("half a thousand lines é")
    expect(element(page).locator("[part=count]")).to_be_hidden()
    button(page, "Send comment").click()
    [event] = collector.wait_for(message_id=new_id, message="half a thousand lines é")
    assert (event["rating"], event["category"]) == ("bad", "too long")

    button(page, "Too long").click()
    pressed(button(page, "Too long"), False)
    [*_, last] = collector.wait_for(
        lambda events: events[-1:] and not events[-1]["category"], message_id=new_id
    )
    assert last["message"] == "half a thousand lines é"

    good(page).click()
    expect(comment).to_have_value("")
    [*_, last] = collector.wait_for(
        lambda events: events[-1]["rating"] == "good", message_id=new_id
    )
    assert (last["category"], last["message"]) == ("", "")


def test_a_comment_over_the_limit_is_not_sent(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    comment = element(page).get_by_label("Comment on this reply")
    comment.fill("é" * 2047 + FAMILY)
    expect(element(page).get_by_text("Characters too many: 1", exact=True)).to_be_visible()
    expect(comment).to_have_accessible_description("Characters too many: 1")
    says(page, "too long")
    expect(comment).to_have_attribute("aria-invalid", "true")
    expect(button(page, "Send comment")).to_be_disabled()
    button(page, "Send comment").click(force=True)
    comment.fill("é" * 2000)
    expect(element(page).get_by_text("Characters left: 47", exact=True)).to_be_visible()
    expect(button(page, "Send comment")).to_be_enabled()
    button(page, "Send comment").click()
    says(page, COMMENTED)
    assert visitor.methods() == ["GET", "POST", "POST"]


def test_there_is_nothing_to_send_until_a_comment_is_new(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    send, comment = button(page, "Send comment"), element(page).get_by_role("textbox")
    expect(send).to_be_disabled()
    comment.fill("New")
    expect(send).to_be_enabled()
    send.press("Enter")
    says(page, COMMENTED)
    expect(send).to_be_disabled()
    expect(send).to_be_focused()
    send.press("Enter")
    comment.fill("Newer")
    page.route("**/llm/feedback", lambda route: route.fulfill(status=401), times=1)
    send.click()
    says(page, "Cannot be sent now.")
    send.click()  # it can be tried again
    says(page, COMMENTED)
    assert visitor.methods() == ["GET", "POST", "POST", "POST", "POST"]


def test_a_vote_of_before_shows_its_thumb_and_no_open_box(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    expect(button(page, "Say more")).to_be_hidden()
    good(page).click()
    says(page, RECORDED)
    comment = element(page).get_by_role("textbox")
    comment.fill("Words")
    button(page, "Send comment").click()
    says(page, COMMENTED)
    page.reload()
    pressed(good(page))
    expect(comment).to_be_hidden()
    expect(button(page, "Say more")).to_have_attribute("aria-expanded", "false")
    button(page, "Say more").press("Enter")
    expect(comment).to_be_focused()
    expect(comment).to_have_value("Words")
    expect(button(page, "Say more")).to_be_hidden()
    good(page).click()
    says(page, RETRACTED)
    expect(comment).to_be_hidden()
    expect(button(page, "Say more")).to_be_hidden()


def test_an_app_chooses_the_labels_and_adds_metadata(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id, attributes="ratings='yes,no'")
    element(page).evaluate("element => { element.metadata = {screen: 'small', n: 2} }")
    bad(page).click()
    [event] = collector.wait_for(message_id=new_id)
    assert (event["rating"], event["screen"], event["n"]) == ("no", "small", 2)
