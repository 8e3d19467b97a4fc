"""<message-feedback> in a real Chromium, against gunicorn with the real blueprint."""

from __future__ import annotations

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browser import accessibility_problems
from collector import Collector
from conftest import needed
from gunicorn_server import Gunicorn, StartServer
from processes import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, Route

LOADS = re.compile(r"/llm/feedback\?")
RECORDED, RETRACTED, WAITING = "Recorded. Thank you.", "Taken back.", "Not sent yet"


def expect(locator: Locator) -> Any:
    from playwright.sync_api import expect  # a machine without it skips

    return expect(locator)


@pytest.fixture(scope="module")
def server(browser: Browser, chat_server: StartServer) -> Iterator[Gunicorn]:
    with chat_server("element:app", threads=8) as running:
        yield running


class Visitor:
    """One person with one browser profile; what the consoles complain of is kept."""

    def __init__(self, context: BrowserContext, port: int) -> None:
        self.context = context
        self.origin = f"http://127.0.0.1:{port}"
        self.complaints: list[str] = []
        self.sent: list[Request] = []
        context.on("request", self._note)
        context.on("console", lambda message: self.complaints.append(message.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _note(self, request: Request) -> None:
        if urlsplit(request.url).path.endswith("/feedback"):
            self.sent.append(request)

    def methods(self) -> list[str]:
        return [request.method for request in self.sent]

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


@pytest.fixture
def visitor(browser: Browser, server: Gunicorn) -> Iterator[Visitor]:
    context = browser.new_context(viewport={"width": 375, "height": 720})
    context.set_default_timeout(15_000)
    visitor = Visitor(context, server.port)
    yield visitor
    context.close()
    # An error of the network is the test's doing.
    complaints = [text for text in visitor.complaints if "Failed to load resource" not in text]
    assert complaints == []


@pytest.fixture
def new_id() -> str:
    return uuid.uuid4().hex


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


# Votes


def test_vote_change_reload_retract(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    pressed(good(page))
    bad(page).click()
    pressed(bad(page))
    pressed(good(page), False)
    [_, second] = collector.wait_for(2, message_id=new_id)
    assert (second["rating"], second["revision"]) == ("bad", 2)
    says(page, RECORDED)
    assert kept(page) == 0

    page.reload()
    pressed(bad(page))
    bad(page).click()
    says(page, RETRACTED)
    pressed(bad(page), False)
    [retraction] = collector.wait_for(message_id=new_id, retracted=True)
    assert retraction["revision"] == 3
    reload(page)
    pressed(bad(page), False)


def test_a_double_click_and_a_held_key_are_one_vote(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id, new_id + "-2")
    good(page).dblclick()
    says(page, RECORDED)
    good(page, 1).focus()
    for _ in range(5):
        page.keyboard.down("Enter")  # from the second on, as a held key repeats it
    says(page, RECORDED, 1)
    assert visitor.methods() == ["GET", "POST", "POST"]


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


def test_reasons_and_a_comment(visitor: Visitor, collector: Collector, new_id: str) -> None:
    attributes = "categories='wrong, too long=Too long' categories-good=helpful"
    page = visitor.open(new_id, attributes=attributes)
    expect(button(page, "Send")).to_be_hidden()
    good(page).click()
    expect(button(page, "helpful")).to_be_visible()
    bad(page).click()
    expect(button(page, "helpful")).to_have_count(0)
    comment = element(page).get_by_label("Comment on this reply")
    comment.fill("half a thou")
    button(page, "Too long").click()
    pressed(button(page, "Too long"))
    expect(comment).to_have_value("half a thou")
    comment.fill("half a thousand lines é")
    expect(element(page).get_by_text("24 / 4095", exact=True)).to_be_visible()
    expect(comment).to_have_accessible_description("24 / 4095")
    button(page, "Send").click()
    [event] = collector.wait_for(message_id=new_id, message="half a thousand lines é")
    assert (event["rating"], event["category"]) == ("bad", "too long")

    page.reload()
    expect(comment).to_have_value("half a thousand lines é")
    pressed(button(page, "Too long"))
    button(page, "Too long").click()
    pressed(button(page, "Too long"), False)
    [*_, last] = collector.wait_for(
        lambda events: events[-1:] and not events[-1]["category"], message_id=new_id
    )
    assert last["message"] == "half a thousand lines é"

    good(page).click()  # a comment does not outlive its vote
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
    comment.fill("é" * 2048)
    expect(element(page).get_by_text("4096 / 4095")).to_be_visible()
    says(page, "too long")
    expect(comment).to_have_attribute("aria-invalid", "true")
    expect(button(page, "Send")).to_be_disabled()
    comment.fill("é" * 2047)
    expect(button(page, "Send")).to_be_enabled()
    button(page, "Send").click()
    says(page, RECORDED)


def test_stars(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id, attributes="ratings=1-5 no-comment")
    button(page, "4 of 5").click()
    says(page, RECORDED)
    [event] = collector.wait_for(message_id=new_id)
    assert event["rating"] == 4
    page.reload()
    pressed(button(page, "4 of 5"))
    pressed(button(page, "3 of 5"), False)
    expect(button(page, "Send")).to_have_count(0)
    fills = (
        element(page).locator("svg").evaluate_all("all => all.map(s => getComputedStyle(s).fill)")
    )
    assert [fill != "none" for fill in fills] == [True] * 4 + [False]
    button(page, "4 of 5").click()
    says(page, RETRACTED)


def test_other_labels_and_metadata(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id, attributes="ratings='yes,no'")
    element(page).evaluate("element => { element.metadata = {screen: 'small', n: 2} }")
    bad(page).click()
    [event] = collector.wait_for(message_id=new_id)
    assert (event["rating"], event["screen"], event["n"]) == ("no", "small", 2)


def test_a_message_that_cannot_be_rated(visitor: Visitor) -> None:
    page = visitor.open(unknown="gone")
    expect(good(page)).to_be_disabled()
    group = element(page).get_by_role("group", name="Rate this reply")
    expect(group).to_have_attribute("title", "This reply can no longer be rated.")


# It never lies


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
    button(page, "Send").click()
    says(page, "There is no such message.")
    expect(comment).to_have_value("What I think of it")
    pressed(good(page))


def test_a_login_page_is_no_acknowledgement(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    page.route(
        "**/llm/feedback",
        lambda route: route.fulfill(
            status=200, content_type="text/html", body="<h1>Please log in</h1>"
        ),
    )
    good(page).click()
    says(page, "Not recorded. HTTP 200")
    pressed(good(page), False)


@pytest.mark.parametrize("code", ["store-unavailable", ""])
def test_503_is_waited_out_for_as_long_as_the_server_says(
    visitor: Visitor, collector: Collector, new_id: str, code: str
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
    if code:
        says(page, "The store is down.")
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


def test_a_frozen_server(
    visitor: Visitor, collector: Collector, server: Gunicorn, new_id: str
) -> None:
    visitor.context.add_init_script(
        "const {timeout} = AbortSignal;"
        "AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 10);"
    )
    page = visitor.open(new_id)
    with frozen(server):
        good(page).click()
        pressed(good(page))
        says(page, "Sending…")
        says(page, WAITING)  # it gave up one attempt
    says(page, RECORDED)
    says(page, RECORDED)
    assert len(collector.wait_for(message_id=new_id)) == 1
    assert server.get(f"/llm/feedback?message_id={new_id}").json["feedback"][0]["revision"] == 1


def test_a_server_that_is_restarted(
    visitor: Visitor, collector: Collector, server: Gunicorn, new_id: str
) -> None:
    page = visitor.open(new_id)
    with frozen(server) as pid:
        good(page).click()
        wait(page, lambda: "POST" in visitor.methods(), "the vote")
        os.kill(pid, signal.SIGKILL)  # gunicorn starts another one
        says(page, RECORDED)
    assert len(collector.wait_for(message_id=new_id)) == 1


def test_the_network_is_cut(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id)
    page.evaluate("setTimeout = () => 0")  # what follows is due to the network's return
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


def test_a_vote_that_can_no_longer_be_taken_back_still_stands(
    visitor: Visitor, server: Gunicorn, new_id: str
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


def test_a_tab_closed_right_after_the_click(
    visitor: Visitor, collector: Collector, server: Gunicorn, new_id: str
) -> None:
    page = visitor.open(new_id)
    with frozen(server):
        # So that the vote is still to be sent when the tab goes: there are six connections.
        page.evaluate("() => { for (let i = 0; i < 6; i++) fetch('/?' + i) }")
        good(page).click()
        page.close()
    collector.wait_for(message_id=new_id)
    page = visitor.open(new_id)
    pressed(good(page))
    wait(page, lambda: not kept(page), "the vote to be acknowledged")
    assert len(collector.events(message_id=new_id)) == 1


def test_a_vote_is_sent_on_the_next_visit_once(
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
    assert visitor.methods().count("POST") == 1
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


def test_two_tabs_with_one_message(visitor: Visitor, collector: Collector, new_id: str) -> None:
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


def test_without_storage_and_locks(visitor: Visitor, collector: Collector, new_id: str) -> None:
    visitor.context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no') }});"
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


# It fits the page it lands in


def test_the_votes_of_many_elements_are_loaded_at_once(visitor: Visitor) -> None:
    minted = [uuid.uuid4().hex[:22] for _ in range(60)]
    page = visitor.open(*minted)
    assert visitor.methods() == ["GET"]
    visitor.sent.clear()
    ids = [str(uuid.uuid4()) for _ in range(130)]
    page.evaluate(
        """ids => document.body.append(...ids.map((id) => {
            const element = document.createElement("message-feedback");
            element.setAttribute("message-id", id);
            return element;
        }))""",
        ids,
    )
    expect(good(page, 60 + 129)).to_be_disabled()
    asked = [parse_qs(urlsplit(request.url).query)["message_id"] for request in visitor.sent]
    assert [one for some in asked for one in some] == ids
    assert all(len(some) <= 100 for some in asked)
    assert all(len(request.url) < 4000 for request in visitor.sent)


def test_a_load_that_fails_is_tried_again(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()
    says(page, RECORDED)
    page.route("**/llm/feedback?*", lambda route: route.abort(), times=1)
    page.reload()
    pressed(good(page))


def test_an_element_that_is_swapped(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id)
    page.evaluate("""
        window.policy = trustedTypes.createPolicy("test", {createHTML: (html) => html});
        window.swap = () => {
            const main = document.querySelector("main");
            main.innerHTML = policy.createHTML(main.innerHTML);
        };
        window.accepted = 0;
        document.addEventListener("feedback-accepted", () => { accepted++ });
    """)
    held = hold(page)
    good(page).click()
    wait(page, lambda: held, "the vote")
    page.evaluate("swap()")
    pressed(good(page))  # on its way still, and shown
    says(page, WAITING)
    held[0].continue_()
    says(page, RECORDED)
    assert page.evaluate("accepted") == 1
    page.evaluate("swap()")
    pressed(good(page))
    bad(page).click()
    says(page, RECORDED)
    assert page.evaluate("accepted") == 2


def test_an_id_that_comes_at_the_end_of_a_stream(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    page = visitor.open(new_id, new_id + "-2")
    visitor.sent.clear()
    page.evaluate("""document.querySelector("main").replaceChildren(
        document.createElement("message-feedback"))""")
    expect(element(page)).to_be_hidden()
    assert visitor.methods() == []
    element(page).evaluate(f"element => element.setAttribute('message-id', '{new_id}')")
    good(page).click()
    says(page, RECORDED)
    collector.wait_for(message_id=new_id)
    element(page).evaluate(f"element => element.setAttribute('message-id', '{new_id}-2')")
    pressed(good(page), False)
    bad(page).click()
    assert collector.wait_for(message_id=new_id + "-2")[0]["rating"] == "bad"


def test_the_pages_events(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    page.evaluate("""addEventListener("feedback-accepted", ({target, detail}) => {
        window.accepted = {...detail, target: target.localName, response: detail.response.status};
    })""")
    good(page).click()
    says(page, RECORDED)
    accepted = page.evaluate("accepted")
    assert accepted["target"] == "message-feedback"
    assert accepted["messageId"] == new_id
    assert accepted["rating"] == "good"
    assert accepted["response"] == 202
    assert accepted["receipt"]["status"] == "accepted"
    assert accepted["receipt"]["revision"] == 1


def test_a_forgery_token_from_an_attribute(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    token = visitor.open().evaluate("document.querySelector('meta[name=csrf-token]').content")
    page = visitor.open(new_id, **{"no-token": "1"})
    good(page).click()
    says(page, "Not recorded. HTTP 400")  # by Flask-WTF
    pressed(good(page), False)
    element(page).evaluate("(element, token) => element.setAttribute('csrf-token', token)", token)
    good(page).click()
    says(page, RECORDED)
    collector.wait_for(message_id=new_id)


def test_credentials_and_base_url(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes="credentials=omit")
    good(page).click()
    says(page, "HTTP 400")  # without the session's cookie the token is worth nothing
    page = visitor.open(new_id, attributes="base-url=/elsewhere/feedback")
    good(page).click()
    says(page, "HTTP 404")
    posted = [request.url for request in visitor.sent if request.method == "POST"]
    assert posted[-1] == visitor.origin + "/elsewhere/feedback"
    page = visitor.open(new_id, attributes="base-url=/llm/feedback")
    good(page).click()
    says(page, RECORDED)


def test_the_plain_client(visitor: Visitor, collector: Collector, new_id: str) -> None:
    page = visitor.open(new_id)
    result = page.evaluate(
        """async (messageId) => {
            const client = await import("/llm/feedback/static/feedback.js");
            const sent = await client.sendFeedback(
                {messageId, rating: 0, category: "c", message: "m", metadata: {k: true}});
            const {feedback, rateable} = await client.loadFeedback([messageId, "none"]);
            const refused = await client.sendFeedback({messageId}).catch((error) => error);
            const retracted = await client.retractFeedback(messageId);
            const again = await client.retractFeedback(messageId);
            const unknown = await client.retractFeedback("none").catch((error) => error);
            const first = client.sendFeedback({messageId, rating: 1}).catch(() => {});
            const second = client.sendFeedback({messageId, rating: 2});
            const third = client.sendFeedback({messageId, rating: 3});
            const replaced = await second.catch((error) => error.name);
            const empty = await client.loadFeedback([]);
            const headers = {"X-Message-ID": "one, two"};
            return {sent, feedback, rateable, retracted, again, replaced, empty,
                refused: {...refused, response: null},
                unknown: unknown.message,
                third: (await third).revision,
                id: client.messageIdOf(new Response("", {headers})),
                none: client.messageIdOf(new Response())};
        }""",
        new_id,
    )
    assert result["sent"]["status"] == "accepted"
    assert result["feedback"][0]["rating"] == 0
    assert result["rateable"] == [new_id]
    assert result["refused"]["status"] == 422
    assert "rating" in result["refused"]["errors"]
    assert result["retracted"]["status"] == "retracted"
    assert result["again"]["status"] == "unchanged"
    assert "no such message" in result["unknown"]
    assert result["replaced"] == "AbortError"
    assert result["empty"] == {"feedback": [], "rateable": []}
    assert result["third"] in (3, 4)
    assert (result["id"], result["none"]) == ("two", None)
    assert collector.wait_for(message_id=new_id, revision=1)[0]["k"] is True


# Everybody


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
    expect(button(page, "Send")).to_be_focused()
    keys.press("Enter")
    [event] = collector.wait_for(message_id=new_id, message="Who wrote that?")
    assert (event["rating"], event["category"]) == ("bad", "rude")


def test_focus_is_not_lost_when_the_comment_goes(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    held = hold(page)
    good(page).click()
    element(page).get_by_label("Comment on this reply").type("I was just")
    held[0].fulfill(status=403)
    says(page, "HTTP 403")
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


def test_slots_parts_and_no_leaks(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    element(page).evaluate("""element => {
        const icon = document.createElement("b");
        icon.slot = "good";
        icon.textContent = "+1";
        element.append(icon);
    }""")
    expect(element(page).get_by_text("+1")).to_be_visible()
    good(page).click()  # it is there, though the page hides all of its buttons
    send = button(page, "Send")
    assert send.evaluate("send => getComputedStyle(send).textTransform") == "uppercase"
    textarea = element(page).get_by_role("textbox")
    assert textarea.evaluate("area => getComputedStyle(area).color") != "rgb(255, 0, 0)"
    assert page.evaluate("document.styleSheets.length + document.adoptedStyleSheets.length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert not re.search("style", page.locator("main").inner_html().replace("message-", ""))
