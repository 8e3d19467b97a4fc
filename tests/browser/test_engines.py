"""<message-feedback> in Chromium, Firefox and WebKit: one set of tests for all of them."""

from __future__ import annotations

import os
import signal

from collector import Collector
from element_page import COMMENTED, RECORDED, RETRACTED, WAITING, frozen
from engine_page import ENTER, SPACE, TAB, Person
from processes import wait_until

GOOD, BAD, COMMENT, SEND = "Good reply", "Bad reply", "Comment on this reply", "Send comment"


def test_a_vote_is_changed_shown_again_and_taken_back(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id)
    person.press(GOOD)
    person.says(RECORDED)
    person.pressed(GOOD)
    person.press(BAD)
    person.pressed(BAD)
    person.pressed(GOOD, False)
    [_, second] = collector.wait_for(2, message_id=new_id)
    assert (second["rating"], second["revision"]) == ("bad", 2)
    person.says(RECORDED)
    assert person.kept() == 0

    person.engine.reload()
    person.pressed(BAD)
    person.press(BAD)
    person.says(RETRACTED)
    person.pressed(BAD, False)
    [retraction] = collector.wait_for(message_id=new_id, retracted=True)
    assert retraction["revision"] == 3
    assert sorted(person.asked()) == ["DELETE", "GET", "GET", "POST", "POST"]


def test_a_double_click_is_one_vote(person: Person, new_id: str) -> None:
    person.open(new_id)
    person.press(GOOD, times=2)
    person.says(RECORDED)
    person.pressed(GOOD)
    assert sorted(person.asked()) == ["GET", "POST"]


def test_the_keyboard_alone_is_enough(person: Person, collector: Collector, new_id: str) -> None:
    person.open(new_id, attributes="categories='wrong,rude'")
    person.enabled(GOOD)
    seen = []
    for key in (TAB, TAB, SPACE, TAB, TAB, ENTER, TAB):
        person.type(key)
        seen.append(person.focused())
        if key in (SPACE, ENTER):
            person.says(RECORDED)
    assert seen == [GOOD, BAD, BAD, "wrong", "rude", "rude", COMMENT]
    person.type("Who wrote that?", TAB)
    assert person.focused() == SEND
    person.type(ENTER)
    person.says(COMMENTED)
    assert person.focused() == SEND
    [event] = collector.wait_for(message_id=new_id, message="Who wrote that?")
    assert (event["rating"], event["category"]) == ("bad", "rude")


def test_reasons_and_a_comment_go_with_a_vote(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id, attributes="categories='wrong, too long=Too long' categories-good=helpful")
    person.shows(SEND, False)
    person.press(GOOD)
    person.shows("helpful")
    person.press(BAD)
    person.shows("helpful", False)
    person.press("Too long")
    person.pressed("Too long")
    person.says(RECORDED)
    person.enabled(SEND, False)
    person.press(COMMENT)
    person.type("half a thousand lines é")
    person.enabled(SEND)
    person.press(SEND)
    person.says(COMMENTED)
    person.enabled(SEND, False)
    [event] = collector.wait_for(message_id=new_id, message="half a thousand lines é")
    assert (event["rating"], event["category"]) == ("bad", "too long")

    person.engine.reload()
    person.pressed(BAD)
    person.shows(COMMENT, False)
    person.press("Say more")
    person.pressed("Too long")
    assert person.comment() == "half a thousand lines é"


def test_the_comment_grows_with_its_text(person: Person, new_id: str) -> None:
    person.open(new_id)
    person.press(GOOD)
    person.says(RECORDED)
    person.press(COMMENT)
    heights = [person.height()]
    for _ in range(2):
        person.type("word " * 60)
        heights.append(person.height())
    assert heights[0] < 50
    assert sorted(set(heights)) == heights
    person.press(SEND)
    person.says(COMMENTED)
    person.engine.reload()
    person.press("Say more")
    assert abs(person.height() - heights[2]) < 20


def test_stars_are_a_scale(person: Person, collector: Collector, new_id: str) -> None:
    person.open(new_id, attributes="ratings=1-5 no-comment")
    person.press("4 of 5")
    person.says(RECORDED)
    assert collector.wait_for(message_id=new_id)[0]["rating"] == 4
    person.engine.reload()
    person.pressed("4 of 5")
    person.pressed("3 of 5", False)
    fills = person.engine.run("""
        const {shadowRoot} = document.querySelector("message-feedback");
        return [...shadowRoot.querySelectorAll("svg")].map((s) => getComputedStyle(s).fill);
    """)
    assert [fill != "none" for fill in fills] == [True] * 4 + [False]
    person.press("4 of 5")
    person.says(RETRACTED)


def test_what_is_refused_is_rolled_back(person: Person, new_id: str) -> None:
    person.open(new_id)
    person.press(GOOD)
    person.says(RECORDED)
    person.has_answered(404, code="unknown-message", detail="It is gone.")
    person.press(BAD)
    person.says("Not recorded. It is gone.")
    person.pressed(GOOD)
    assert person.kept() == 0


def test_a_message_that_cannot_be_rated_has_thumbs_that_do_nothing(person: Person) -> None:
    person.open(unknown="gone")
    person.enabled(GOOD, False)


def test_a_draft_and_the_focus_survive_a_move(person: Person, new_id: str) -> None:
    person.open(new_id)
    person.press(GOOD)
    person.says(RECORDED)
    person.press(COMMENT)
    person.type("Half a")
    person.engine.run("""
        const main = document.querySelector("main");
        main.append(document.createElement("p"), document.querySelector("message-feedback"));
        document.querySelector("message-feedback").setAttribute("text-send", "Go");
    """)
    person.shows("Go")
    assert person.focused() == COMMENT
    person.type(" thought")
    assert person.comment() == "Half a thought"


def test_a_page_that_one_goes_back_to_shows_the_newest_vote(person: Person, new_id: str) -> None:
    person.open(new_id)
    person.press(GOOD)
    person.says(RECORDED)
    person.open(new_id, dir="rtl")
    person.pressed(GOOD)
    person.press(BAD)
    person.says(RECORDED)
    person.engine.back()
    person.pressed(BAD)
    person.pressed(GOOD, False)
    person.press(BAD)
    person.says(RETRACTED)


def test_a_vote_survives_a_frozen_server(person: Person, collector: Collector, new_id: str) -> None:
    person.open(new_id)
    person.enabled(GOOD)
    person.engine.run("""
        const {timeout} = AbortSignal;
        AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 10);
    """)
    with frozen(person.server):
        person.press(GOOD)
        person.pressed(GOOD)
        person.says("Sending…")
        person.says(WAITING)  # it gave up one attempt
    person.says(RECORDED)
    assert len(collector.wait_for(message_id=new_id)) == 1


def test_a_vote_survives_a_restart_of_the_server(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id)
    person.enabled(GOOD)
    with frozen(person.server) as pid:
        person.press(GOOD)
        person.says("Sending…")
        os.kill(pid, signal.SIGKILL)  # gunicorn starts another one
        person.says(RECORDED)
    assert len(collector.wait_for(message_id=new_id)) == 1


def test_a_vote_survives_a_cut_of_the_network(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id)
    person.enabled(GOOD)
    with person.network.refusing():
        person.press(GOOD)
        person.says("Not sent yet, trying again. The server cannot be reached.")
        person.press(BAD)
        person.pressed(BAD)
        person.says(WAITING)
        assert person.kept() == 1
    person.says(RECORDED)
    assert [event["rating"] for event in collector.wait_for(message_id=new_id)] == ["bad"]
    assert person.kept() == 0


def test_a_vote_is_sent_on_the_next_visit_once(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id)
    person.enabled(GOOD)
    with person.network.refusing():
        person.press(GOOD)
        person.says(WAITING)
        person.engine.open("about:blank")
    person.open()
    collector.wait_for(message_id=new_id)
    wait_until(lambda: not person.kept(), "it to be acknowledged")
    person.open(new_id)
    person.pressed(GOOD)
    assert len(collector.events(message_id=new_id)) == 1


def test_the_plain_client_sends_a_vote_and_the_page_hears_of_it(
    person: Person, collector: Collector, new_id: str
) -> None:
    person.open(new_id)
    person.engine.run(
        """
        window.heard = [];
        addEventListener("feedback-accepted", ({detail}) => heard.push(detail.rating));
        import("/llm/feedback/static/feedback.js").then(async (client) => {
            const messageId = arguments[0];
            const sent = await client.sendFeedback(
                {messageId, rating: 0, category: "c", message: "m", metadata: {k: true}});
            const {feedback, rateable} = await client.loadFeedback([messageId, "none"]);
            const empty = await client.loadFeedback([]);
            const refused = await client.sendFeedback({messageId}).catch((error) => error);
            const retracted = await client.retractFeedback(messageId);
            const again = await client.retractFeedback(messageId);
            const unknown = await client.retractFeedback("none").catch((error) => error);
            const first = client.sendFeedback({messageId, rating: 1}).catch(() => {});
            const second = client.sendFeedback({messageId, rating: 2});
            const third = client.sendFeedback({messageId, rating: 3});
            const replaced = await second.catch((error) => error.name);
            const {revision} = await third;
            const idOf = (ids) => client.messageIdOf({headers: new Headers({"X-Message-ID": ids})});
            window.result = {sent, feedback, rateable, empty, retracted, again, replaced, revision,
                refused: {status: refused.status, code: refused.code, errors: refused.errors},
                unknown: unknown.message,
                ids: ["one, two", "one,two", "one two"].map(idOf),
                none: client.messageIdOf(new Response()),
                heard};
        });
        """,
        new_id,
    )
    result = wait_until(lambda: person.engine.run("return window.result ?? null"), "the client")
    assert result["sent"]["status"] == "accepted"
    assert (result["feedback"][0]["rating"], result["feedback"][0]["message"]) == (0, "m")
    assert result["rateable"] == [new_id]
    assert result["empty"] == {"feedback": [], "rateable": []}
    assert (result["refused"]["status"], result["refused"]["code"]) == (422, "invalid")
    assert "rating" in result["refused"]["errors"]
    assert result["retracted"]["status"] == "retracted"
    assert result["again"]["status"] == "unchanged"
    assert "no such message" in result["unknown"]
    assert result["replaced"] == "AbortError"
    assert result["revision"] in (3, 4)
    assert (result["ids"], result["none"]) == (["two", "two", "one two"], None)
    assert (result["heard"][:2], result["heard"][-1]) == ([0, None], 3)
    assert collector.wait_for(message_id=new_id, revision=1)[0]["k"] is True
