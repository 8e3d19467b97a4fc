"""<message-feedback> shows what is refused as refused."""

from __future__ import annotations

import pytest
from collector import Collector
from element_page import (
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


def test_what_is_refused_is_rolled_back_to_the_vote_before(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes=f"categories='{'x' * 256}=Endless, fine'")
    page.evaluate("addEventListener('feedback-refused', ({detail}) => { window.refused = detail })")
    good(page).click()
    button(page, "fine").click()
    pressed(button(page, "fine"))
    says(page, RECORDED)
    button(page, "Endless").click()
    says(page, "Not recorded. Longer than 255 bytes in UTF-8.")
    pressed(button(page, "Endless"), False)
    pressed(button(page, "fine"))
    pressed(good(page))
    refused = page.evaluate(
        "({...refused, error: {...refused.error, words: refused.error.message, response: 0}})"
    )
    assert refused["messageId"] == new_id
    assert refused["rating"] == "good"
    assert refused["error"]["code"] == "invalid"
    assert refused["error"]["errors"] == {"category": ["Longer than 255 bytes in UTF-8."]}
    assert kept(page) == 0


def test_a_refused_comment_is_not_lost(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(
            status=404,
            content_type="application/problem+json",
            json={"code": "unknown-message", "detail": "There is no such message."},
        ),
    )
    comment = element(page).get_by_label("Comment on this reply")
    comment.fill("What I think of it")
    button(page, "Send comment").click()
    says(page, "There is no such message.")
    expect(comment).to_have_value("What I think of it")
    pressed(good(page))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "<h1>Please log in</h1>"),
        (200, "null"),
        (400, "<p>The CSRF token has expired.</p>"),
        (401, '{"code": "token-expired", "detail": "Log in."}'),
        (403, '{"errors": {"token": null}}'),
        (403, '{"code": "too-many-logins"}'),
    ],
)
def test_what_another_than_the_blueprint_answers_keeps_the_vote_for_the_next_visit(
    visitor: Visitor, collector: Collector, new_id: str, status: int, body: str
) -> None:
    page = visitor.open(new_id)
    page.evaluate("addEventListener('feedback-refused', () => { window.refused = true })")
    page.route("**/llm/feedback", lambda route: route.fulfill(status=status, body=body), times=1)
    good(page).click()
    says(page, "Cannot be sent now.")
    pressed(good(page))
    assert kept(page) == 1
    assert page.evaluate("window.refused") is None
    visitor.open()
    assert collector.wait_for(message_id=new_id)[0]["rating"] == "good"
    wait(page, lambda: not kept(page), "it to be acknowledged")


def test_a_vote_that_was_kept_is_sent_once_with_the_next_one(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id, other := f"{new_id}-2")
    page.route("**/llm/feedback", lambda route: route.fulfill(status=403), times=1)
    good(page).click()
    says(page, "Cannot be sent now. HTTP 403")
    bad(page, 1).click()
    says(page, RECORDED, 1)
    says(page, RECORDED)
    assert visitor.methods().count("POST") == 3
    assert len(collector.wait_for(message_id=new_id)) == 1
    assert len(collector.wait_for(message_id=other)) == 1


def test_a_newer_vote_takes_the_place_of_one_that_was_kept(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id)
    page.route("**/llm/feedback", lambda route: route.fulfill(status=403), times=1)
    good(page).click()
    says(page, "Cannot be sent now.")
    bad(page).click()
    says(page, RECORDED)
    assert visitor.methods().count("POST") == 2
    assert [event["rating"] for event in collector.wait_for(message_id=new_id)] == ["bad"]
    assert kept(page) == 0


@pytest.mark.parametrize("status", [408, 425, 429, 500, 520])
def test_the_error_of_a_proxy_is_waited_out(
    visitor: Visitor, collector: Collector, new_id: str, status: int
) -> None:
    page = visitor.open(new_id)
    page.route(
        "**/llm/feedback", lambda route: route.fulfill(status=status, body="<h1>Sorry"), times=1
    )
    good(page).click()
    says(page, RECORDED)
    assert visitor.methods() == ["GET", "POST", "POST"]
    assert len(collector.wait_for(message_id=new_id)) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("store-unavailable", "The store is down."),
        ("agent-not-recording", "The server takes no feedback now."),
        ("", WAITING),
    ],
)
def test_503_is_waited_out_for_as_long_as_the_server_says(
    visitor: Visitor, collector: Collector, new_id: str, code: str, said: str
) -> None:
    page = visitor.open(new_id)
    problem = {"code": code, "detail": "The store is down."} if code else "<h1>Bad Gateway</h1>"
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "1"}, json=problem),
        times=1,
    )
    page.evaluate("window.clicked = 0; addEventListener('click', () => { clicked = Date.now() })")
    good(page).click()
    says(page, WAITING)
    says(page, said)
    pressed(good(page))
    says(page, RECORDED)
    assert page.evaluate("Date.now() - clicked") >= 1000
    assert visitor.methods() == ["GET", "POST", "POST"]
    collector.wait_for(message_id=new_id)


def test_too_many_revisions_are_not_waited_out(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(
            status=429,
            json={"code": "too-many-revisions", "detail": "20 times, which is the limit."},
        ),
    )
    good(page).click()
    says(page, "20 times")
    pressed(good(page), False)


def test_a_vote_that_can_no_longer_be_taken_back_still_stands(
    visitor: Visitor, new_id: str
) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    gone = {"code": "unknown-message", "detail": "There is no such message."}
    page.route(
        "**/llm/feedback?*",
        lambda route: (
            route.fulfill(status=404, json=gone)
            if route.request.method == "DELETE"
            else route.fulfill(json={"feedback": [], "rateable": []})
        ),
    )
    good(page).click()
    says(page, "Not recorded. There is no such message.")
    pressed(good(page))


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_makes_a_get_of_a_vote_refuses_nothing(
    visitor: Visitor, collector: Collector, new_id: str, status: int
) -> None:
    """As a login does that nobody sees: the blueprint then answers a GET that asks for nothing."""
    page = visitor.open(new_id)
    url = page.evaluate("new URL('/llm/feedback', document.baseURI).href")
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(status=status, headers={"Location": url}),
        times=1,
    )
    good(page).click()
    says(page, "Cannot be sent now.")
    assert kept(page) == 1
    visitor.open()
    assert collector.wait_for(message_id=new_id)[0]["rating"] == "good"
