"""<message-feedback> never sends what one rater left in a browser as another's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from collector import Collector
from element_page import (
    COMMENTED,
    RECORDED,
    WAITING,
    Visitor,
    bad,
    button,
    element,
    expect,
    good,
    kept,
    pressed,
    says,
    wait,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

STALE = "This page was made for a different person than the one who is logged in."


def tagged(visitor: Visitor, *ids: str) -> Page:
    return visitor.open(*ids, tagged="1")


def comment(page: Page) -> Locator:
    return element(page).locator("textarea")  # hidden, too


def leave(visitor: Visitor, page: Page, words: str) -> None:
    """Have a vote kept: the session has ended, by what the app answers."""
    page.route("**/llm/feedback", lambda route: route.fulfill(status=401))
    good(page).click()
    comment(page).fill(words)
    button(page, "Send comment").click()
    says(page, "Cannot be sent now. HTTP 401")
    page.close()


@pytest.mark.parametrize("owned", [False, True], ids=["nobody's", "one's own"])
@pytest.mark.parametrize(
    ("one", "other"),
    [("ann", "bob"), (None, "ann"), ("ann", None)],
    ids=["two raters", "nobody before", "nobody after"],
)
def test_a_vote_that_was_left_is_sent_only_for_the_rater_who_left_it(
    visitor: Visitor,
    collector: Collector,
    new_id: str,
    one: str | None,
    other: str | None,
    owned: bool,
) -> None:
    visitor.log_in(one if owned else None)
    visitor.open(new_id).close()  # which makes the message
    visitor.log_in(one)
    leave(visitor, tagged(visitor, new_id), "Words of one")

    visitor.log_in(other)
    visitor.sent.clear()
    page = tagged(visitor, new_id)
    pressed(good(page), False)
    expect(comment(page)).to_have_value("")
    mine = f"{new_id}-other"
    page = tagged(visitor, mine)
    bad(page).click()
    says(page, RECORDED)
    assert visitor.methods() == ["GET", "GET", "POST"]
    assert kept(page) == 1

    visitor.log_in(one)
    page = tagged(visitor)
    [event] = collector.wait_for(message_id=new_id)
    assert event["message"] == "Words of one"
    wait(page, lambda: not kept(page), "it to be acknowledged")
    page = tagged(visitor, new_id)
    pressed(good(page))
    expect(comment(page)).to_have_value("Words of one")
    assert visitor.methods().count("POST") == 2


def test_two_raters_leave_a_vote_on_one_message(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    visitor.open(new_id).close()
    for name in "ann", "bob":
        visitor.log_in(name)
        page = tagged(visitor, new_id)
        page.route("**/llm/feedback", lambda route: route.fulfill(status=401))
        (good if name == "ann" else bad)(page).click()
        says(page, "Cannot be sent now.")
    assert kept(page) == 2
    for name, rating in ("ann", "good"), ("bob", "bad"):
        visitor.log_in(name)
        tagged(visitor)
        collector.wait_for(message_id=new_id, rating=rating)
    events = collector.events(message_id=new_id)
    assert len({event["feedback_id"] for event in events}) == len(events) == 2


@pytest.mark.parametrize("one", ["ann", None], ids=["a rater's", "nobody's"])
def test_a_page_that_stays_open_sends_nothing_as_the_next_rater(
    visitor: Visitor, collector: Collector, new_id: str, one: str | None
) -> None:
    visitor.open(new_id).close()
    visitor.log_in(one)
    page, spare = tagged(visitor, new_id), tagged(visitor, new_id)
    visitor.log_in("bob")
    good(page).click()
    says(page, STALE)
    pressed(good(page))
    good(page).click()  # a retraction is not sent, either
    says(page, STALE)
    good(page).click()
    says(page, STALE)
    bobs = tagged(visitor, new_id)
    bad(bobs).click()
    says(bobs, RECORDED)
    page.reload()  # it is Bob's now
    pressed(bad(page))
    [event] = collector.wait_for(message_id=new_id)
    assert event["rating"] == "bad"
    assert kept(page) == 1

    visitor.log_in(one)
    tagged(visitor)
    pressed(good(spare))
    [event] = collector.wait_for(message_id=new_id, rating="good")
    assert event["revision"] == 1
    wait(spare, lambda: not kept(spare), "it to be acknowledged")


def test_a_page_that_stays_open_shows_nothing_of_the_next_rater(
    visitor: Visitor, new_id: str
) -> None:
    visitor.open(new_id).close()
    visitor.log_in("bob")
    page = tagged(visitor, new_id)
    good(page).click()
    says(page, RECORDED)
    visitor.log_in("ann")
    page = tagged(visitor, f"{new_id}-ann")
    visitor.log_in("bob")
    with page.expect_response("**/llm/feedback?*") as answer:
        element(page).evaluate(f"element => element.setAttribute('message-id', '{new_id}')")
    assert answer.value.status == 409
    pressed(good(page), False)


def test_a_vote_under_way_when_the_login_changes_is_not_sent_as_the_next_raters(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    visitor.open(new_id).close()
    visitor.log_in("ann")
    page = tagged(visitor, new_id)
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    visitor.log_in("bob")
    visitor.context.set_offline(False)
    says(page, STALE)
    assert collector.events(message_id=new_id) == []
    visitor.log_in("ann")
    page.reload()
    says(page, RECORDED)
    [event] = collector.wait_for(message_id=new_id)
    assert event["rating"] == "good"
    assert kept(page) == 0


@pytest.mark.parametrize(
    "tell",
    [
        "document.querySelector('meta[name=feedback-rater]').content = tag",
        "document.querySelector('message-feedback').setAttribute('rater', tag)",
    ],
    ids=["page-wide", "by the element"],
)
def test_a_page_without_reloads_tells_of_the_login(
    visitor: Visitor, collector: Collector, new_id: str, tell: str
) -> None:
    visitor.open(new_id).close()
    visitor.log_in("ann")
    page = tagged(visitor, new_id)
    good(page).click()
    says(page, RECORDED)
    comment(page).fill("Words of Ann")
    button(page, "Send comment").click()
    collector.wait_for(message_id=new_id, message="Words of Ann")
    says(page, COMMENTED)
    comment(page).fill("More words of Ann")

    tag = visitor.log_in("bob")
    page.evaluate(f"tag => {{ {tell} }}", tag)
    pressed(good(page), False)
    expect(comment(page)).to_have_value("")
    bad(page).click()
    says(page, RECORDED)
    [event] = collector.wait_for(message_id=new_id, rating="bad")
    assert (event["revision"], event.get("message")) == (1, None)

    tag = visitor.log_in("ann")
    page.evaluate(f"tag => {{ {tell} }}", tag)
    pressed(good(page))
    expect(comment(page)).to_have_value("Words of Ann")


def test_what_is_left_is_sent_when_a_page_without_reloads_tells_of_the_login(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    tag = visitor.log_in("ann")
    leave(visitor, tagged(visitor, new_id), "Words of Ann")
    visitor.log_in("bob")
    page = tagged(visitor)
    visitor.log_in("ann")
    page.evaluate(
        "tag => { document.querySelector('meta[name=feedback-rater]').content = tag }", tag
    )
    collector.wait_for(message_id=new_id, message="Words of Ann")


def test_what_else_changes_in_the_head_sends_nothing(visitor: Visitor, new_id: str) -> None:
    page = tagged(visitor, new_id)
    page.route("**/llm/feedback", lambda route: route.fulfill(status=401))
    good(page).click()
    says(page, "Cannot be sent now. HTTP 401")
    page.evaluate("document.title = 'A new message'")
    page.evaluate("document.head.append(document.createElement('meta'))")
    page.evaluate("navigator.locks.request(Object.keys(localStorage)[0], () => {})")  # its turn
    assert visitor.methods() == ["GET", "POST"]


def test_elements_of_several_raters_are_loaded_each_as_its_own(
    visitor: Visitor, new_id: str
) -> None:
    visitor.open(new_id).close()
    ann, bob = visitor.log_in("ann"), visitor.log_in("bob")
    page = visitor.open(new_id, attributes=f"rater='{bob}'")
    good(page).click()
    says(page, RECORDED)
    page.evaluate(
        """([id, tag]) => {
            const other = document.createElement("message-feedback");
            other.setAttribute("message-id", id);
            other.setAttribute("rater", tag);
            const same = document.querySelector("message-feedback").cloneNode();
            document.querySelector("main").replaceChildren(other, same);
        }""",
        [new_id, ann],
    )
    pressed(good(page, 1))
    pressed(good(page, 0), False)


def test_what_another_left_is_forgotten_after_a_week_and_ones_own_is_sent(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    for name in "ann", "bob":
        visitor.log_in(name)
        leave(visitor, tagged(visitor, f"{new_id}-{name}"), f"Words of {name}")
    page = visitor.open(new_id, attributes="base-url=/elsewhere/feedback")
    good(page).click()
    says(page, "Cannot be sent now. HTTP 404")
    clock = visitor.context.clock
    week = datetime.now() + timedelta(days=7)
    clock.set_system_time(week - timedelta(minutes=1))
    visitor.log_in(None)
    assert kept(tagged(visitor)) == 3
    clock.set_system_time(week + timedelta(minutes=1))
    visitor.log_in("bob")
    page = tagged(visitor)
    collector.wait_for(message_id=f"{new_id}-bob", message="Words of bob")
    wait(page, lambda: kept(page) == 1, "one to be sent, one to be forgotten")
    visitor.log_in("ann")
    tagged(visitor, f"{new_id}-ann")
    assert collector.events(message_id=f"{new_id}-ann") == []
    [left] = page.evaluate("Object.keys(localStorage)")
    assert "/elsewhere/feedback" in left, "of another blueprint, whose messages may live longer"


def test_pages_with_a_tag_and_pages_without_send_each_their_own(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    visitor.log_in("ann")
    leave(visitor, tagged(visitor, f"{new_id}-tagged"), "With a tag")
    leave(visitor, visitor.open(f"{new_id}-plain"), "Without")
    page = visitor.open()
    collector.wait_for(message_id=f"{new_id}-plain")
    wait(page, lambda: kept(page) == 1, "it to be acknowledged")
    page = tagged(visitor)
    collector.wait_for(message_id=f"{new_id}-tagged")
    wait(page, lambda: not kept(page), "it to be acknowledged")
