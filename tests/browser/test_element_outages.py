"""<message-feedback> loses no vote, and sends none twice, whatever ends or freezes meanwhile."""

from __future__ import annotations

import pytest
from collector import Collector
from element_page import (
    RECORDED,
    RETRACTED,
    WAITING,
    Visitor,
    bad,
    frozen,
    good,
    kept,
    pressed,
    reload,
    says,
    wait,
)
from gunicorn_server import Gunicorn


def test_votes_are_sent_as_soon_as_the_network_is_back(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    page.evaluate("setTimeout = () => 0")  # no timer tries again
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    bad(page).click()
    says(page, WAITING)
    pressed(bad(page))
    assert kept(page) == 1
    visitor.context.set_offline(False)
    says(page, RECORDED)
    assert [event["rating"] for event in collector.wait_for(message_id=new_id)] == ["bad"]
    assert kept(page) == 0


def test_a_vote_that_never_arrived_can_be_taken_back(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    good(page).click()
    pressed(good(page), False)
    visitor.context.set_offline(False)
    says(page, RETRACTED)
    assert kept(page) == 0


def test_a_vote_survives_a_tab_that_is_closed_right_after_the_click(
    visitor: Visitor, collector: Collector, element_server: Gunicorn, new_id: str
) -> None:
    page = visitor.open(new_id)
    with frozen(element_server):
        # So that the vote is still to be sent when the tab goes: there are six connections.
        page.evaluate("() => { for (let i = 0; i < 6; i++) fetch('/?' + i) }")
        good(page).click()
        wait(page, lambda: "POST" in visitor.methods(), "the vote to be on its way")
        page.close()
    collector.wait_for(message_id=new_id)
    page = visitor.open(new_id)
    pressed(good(page))
    wait(page, lambda: not kept(page), "the vote to be acknowledged")
    assert len(collector.events(message_id=new_id)) == 1


def test_a_vote_that_was_left_is_sent_once_though_three_tabs_find_it(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    page.close()
    visitor.context.set_offline(False)
    visitor.sent.clear()
    tabs = [visitor.context.new_page() for _ in range(3)]
    for tab in tabs:
        tab.goto(visitor.url([new_id]), wait_until="commit")
    for tab in tabs:
        pressed(good(tab))
    wait(tabs[0], lambda: not kept(tabs[0]), "it to be acknowledged")
    for tab in tabs:
        reload(tab)
        pressed(good(tab))
    # A tab may not see yet what another one has just removed from what they share.
    assert visitor.methods().count("POST") < len(tabs)
    assert len(collector.wait_for(message_id=new_id)) == 1


def test_a_leftover_is_sent_from_a_page_without_its_element(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    visitor.context.set_offline(True)
    bad(page).click()
    says(page, WAITING)
    page.close()
    visitor.context.set_offline(False)
    visitor.open()
    assert collector.wait_for(message_id=new_id)[0]["rating"] == "bad"


def test_two_tabs_with_one_message_show_the_same_vote(visitor: Visitor, new_id: str) -> None:
    one, two = visitor.open(new_id), visitor.open(new_id)
    good(one).click()
    pressed(good(two))  # it has followed
    bad(two).click()
    says(two, RECORDED)
    pressed(bad(one))
    visitor.context.set_offline(True)
    good(one).click()
    says(one, WAITING)
    good(two).click()
    bad(two).click()
    visitor.context.set_offline(False)
    says(two, RECORDED)
    pressed(bad(one))
    pressed(bad(two))
    [standing] = one.evaluate(f"fetch('/llm/feedback?message_id={new_id}').then(r => r.json())")[
        "feedback"
    ]
    assert standing["rating"] == "bad"


@pytest.mark.parametrize(
    "broken",
    [
        "window, 'localStorage', {get() { throw new DOMException('no') }}",
        "window, 'localStorage', {value: null}",
        "window, 'localStorage', {value: new Proxy({}, new Proxy({}, {get: () => { throw 0 }}))}",
    ],
    ids=["forbidden", "switched off", "corrupt"],
)
def test_a_vote_is_sent_without_storage_and_locks(
    visitor: Visitor, collector: Collector, new_id: str, broken: str
) -> None:
    visitor.context.add_init_script(
        f"Object.defineProperty({broken});"
        "Object.defineProperty(navigator, 'locks', {value: undefined})"
    )
    page = visitor.open(new_id)
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    bad(page).click()
    visitor.context.set_offline(False)
    says(page, RECORDED)
    pressed(bad(page))
    assert collector.wait_for(lambda e: e[-1:] and e[-1]["rating"] == "bad", message_id=new_id)
