"""<message-feedback> in a browser whose storage holds what nobody expects, or nothing more."""

from __future__ import annotations

import pytest
from collector import Collector
from element_page import (
    COMMENTED,
    RECORDED,
    WAITING,
    Visitor,
    bad,
    element,
    expect,
    good,
    kept,
    pressed,
    says,
    wait,
)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "half \ud83d", "null", "5", "[]", "{}", '{"vote": null}', '{"vote": {}}'),
        '{"vote": {"message_id": "other", "rating": "bad"}, "at": 1}',
    ],
)
def test_an_entry_that_is_none_is_ignored_and_replaced(
    visitor: Visitor, collector: Collector, new_id: str, text: str
) -> None:
    page = visitor.open(new_id)
    page.route("**/llm/feedback", lambda route: route.fulfill(status=403), times=1)
    bad(page).click()
    says(page, "Cannot be sent now.")
    page.evaluate(
        """text => {
            const [key] = Object.keys(localStorage).filter((key) => key.startsWith("feedback "));
            localStorage.setItem(key, text);
            localStorage.setItem(key.replace(/ [^ ]+$/, " elsewhere"), text);
            localStorage.setItem("feedback of the app's own", text);
        }""",
        text,
    )
    visitor.sent.clear()
    page.close()
    page = visitor.open(new_id)
    pressed(bad(page), False)
    expect(element(page).get_by_role("status")).to_have_text("")
    good(page).click()
    says(page, RECORDED)
    pressed(good(page))
    assert visitor.methods() == ["GET", "POST"]
    assert [event["rating"] for event in collector.wait_for(message_id=new_id)] == ["good"]
    assert kept(page) == 2, "what is not of this message is left alone"


def test_an_entry_may_be_overwritten_while_its_vote_is_under_way(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    visitor.context.set_offline(True)
    good(page).click()
    says(page, WAITING)
    page.evaluate("for (const key of Object.keys(localStorage)) localStorage.setItem(key, '{')")
    visitor.context.set_offline(False)
    says(page, RECORDED)
    collector.wait_for(message_id=new_id)


def test_a_vote_is_sent_though_the_storage_is_full(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    page.route("**/llm/feedback", lambda route: route.fulfill(status=403), times=1)
    good(page).click()
    says(page, "Cannot be sent now.")
    page.evaluate("""() => {
        for (let size = 2 ** 22; size >= 1; size /= 2) {
            try {
                for (let i = 0; ; i++) localStorage.setItem(`${size} ${i}`, "x".repeat(size));
            } catch {}
        }
    }""")
    visitor.context.set_offline(True)
    element(page).get_by_role("textbox").fill("There is no room for this. " * 40)
    element(page).get_by_role("button", name="Send comment").click()
    says(page, WAITING)
    assert kept(page) == 0, "what it takes the place of has gone"
    visitor.context.set_offline(False)
    says(page, COMMENTED)
    assert len(collector.wait_for(message_id=new_id)) == 1
    visitor.sent.clear()
    tab = visitor.open(new_id)
    wait(tab, lambda: visitor.methods(), "the page to be loaded")
    pressed(good(tab))
    assert visitor.methods() == ["GET"]
