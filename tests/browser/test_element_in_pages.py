"""<message-feedback> fits the page it lands in."""

from __future__ import annotations

import re
import uuid
from urllib.parse import parse_qs, urlsplit

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
    hold,
    pressed,
    says,
    wait,
)

from feedback_blueprint.web.assets import FOLDER


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


def test_an_element_that_is_swapped_shows_its_vote(visitor: Visitor, new_id: str) -> None:
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


def test_an_id_may_come_at_the_end_of_a_stream(
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


def test_the_page_hears_events(visitor: Visitor, new_id: str) -> None:
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


def test_a_forgery_token_can_come_from_an_attribute(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    token = visitor.open().evaluate("document.querySelector('meta[name=csrf-token]').content")
    page = visitor.open(new_id, **{"no-token": "1"})
    good(page).click()
    says(page, "Cannot be sent now. HTTP 400")  # by Flask-WTF
    element(page).evaluate("(element, token) => element.setAttribute('csrf-token', token)", token)
    bad(page).click()
    says(page, RECORDED)
    collector.wait_for(message_id=new_id)


def test_attributes_set_the_credentials_and_the_base_url(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes="credentials=omit")
    good(page).click()
    says(page, "HTTP 400")  # without the session's cookie the token is worth nothing
    page = visitor.open(new_id, attributes="base-url=/elsewhere/feedback")
    good(page).click()
    says(page, "HTTP 404")
    posted = [request.url for request in visitor.sent if request.method == "POST"]
    assert posted[-1] == visitor.origin + "/elsewhere/feedback"
    page = visitor.open(new_id, attributes="base-url=/llm/feedback")
    bad(page).click()
    says(page, RECORDED)


@pytest.mark.parametrize(
    ("base", "place"), [({}, "/feedback"), ({"base": "/llm/feedback"}, "/llm/feedback")]
)
def test_a_copy_among_the_apps_own_files_takes_its_place_for_nothing(
    visitor: Visitor, new_id: str, base: dict[str, str], place: str
) -> None:
    page = visitor.context.new_page()
    page.route(
        re.compile(r"/static/(feedback|element|queue)\.js"),
        lambda route: route.fulfill(
            body=(FOLDER / route.request.url.rpartition("/")[2]).read_text(),
            content_type="text/javascript",
        ),
    )
    page.goto(visitor.url([new_id], script="feedback.js", **base))
    good(page).click()
    says(page, RECORDED if base else "HTTP 404")
    assert {urlsplit(request.url).path for request in visitor.sent} == {place}


def test_an_attribute_leaves_the_draft_and_the_focus(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id, attributes="categories='wrong, rude'")
    good(page).click()
    says(page, RECORDED)
    comment = element(page).get_by_role("textbox")
    comment.type("Half a")
    for name, value in (
        *(("text-comment", "Your words"), ("text-up", "Fine"), ("categories", "rude, new")),
        *(("ratings", "bad,good"), ("no-comment", ""), ("ratings", "good,bad")),
    ):
        element(page).evaluate("(element, [n, v]) => element.setAttribute(n, v)", [name, value])
    element(page).evaluate("element => element.removeAttribute('no-comment')")
    expect(comment).to_have_attribute("placeholder", "Your words")
    expect(comment).to_have_value("Half a")
    says(page, RECORDED)

    button(page, "rude").focus()
    element(page).evaluate("element => element.setAttribute('categories', 'odd, rude')")
    expect(button(page, "rude")).to_be_focused()

    page.evaluate("""() => {
        const element = document.querySelector("message-feedback");
        element.remove();
        window.later = () => document.querySelector("main").append(element);
    }""")
    page.evaluate("later()")
    expect(comment).to_have_value("Half a")
    expect(button(page, "rude")).not_to_be_focused()  # too late to be a move


def test_properties_that_were_set_before_the_script_came_are_taken(
    visitor: Visitor, collector: Collector, new_id: str
) -> None:
    visitor.context.add_init_script(
        f"""document.addEventListener("readystatechange", () => {{
            const element = document.querySelector("message-feedback");
            if (!element || element.metadata) return;
            Object.assign(element, {{messageId: "{new_id}", metadata: {{early: true}}}});
        }})"""
    )
    page = visitor.open(new_id + "-other")
    page = visitor.open(new_id)
    element(page).evaluate("element => { element.messageId = null }")
    expect(element(page)).to_be_hidden()
    element(page).evaluate("(element, id) => { element.messageId = id }", new_id)
    good(page).click()
    assert collector.wait_for(message_id=new_id)[0]["early"] is True


def test_slots_and_parts_change_its_look(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    element(page).evaluate("""element => {
        const icon = document.createElement("b");
        icon.slot = "good";
        icon.textContent = "+1";
        element.append(icon);
    }""")
    expect(element(page).get_by_text("+1")).to_be_visible()
    good(page).click()
    send = button(page, "Send comment")
    assert send.evaluate("send => getComputedStyle(send).textTransform") == "uppercase"


def test_no_style_leaks_in_or_out(visitor: Visitor, new_id: str) -> None:
    page = visitor.open(new_id)
    good(page).click()  # it is there, though the page hides all of its buttons
    textarea = element(page).get_by_role("textbox")
    assert textarea.evaluate("area => getComputedStyle(area).color") != "rgb(255, 0, 0)"
    assert page.evaluate("document.styleSheets.length + document.adoptedStyleSheets.length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert not re.search("style", page.locator("main").inner_html().replace("message-", ""))
