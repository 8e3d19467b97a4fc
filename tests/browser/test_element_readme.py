"""The examples for pages of the documentation, each in a real Chromium, with its own streams."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from documentation import block, example, text_of
from element_page import RECORDED, button, element, expect, good, says
from flask import Flask, Response, render_template_string, request
from needed import needed
from npm import from_npm
from werkzeug.serving import make_server

from feedback_blueprint import FeedbackBlueprint

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKENS = ["Not ", "<b>bold</b> ", "at all."]
TEXT = "".join(TOKENS)

[ELEMENT_OF_AN_EVENT] = re.findall(r"`(yield f'event: feedback.*?)`", text_of("messages"))

SCRIPT = block("static", "html", "<script").splitlines()[0]
"""The tag that loads feedback.js."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The base URL of an app that runs in threads of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def show(
    app: Flask, events: list[Any], browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Page]]:
    """Show a page with this in its body; what its console complains of is a failure."""
    body, files, complaints = [], {}, []
    libraries = tmp_path_factory.mktemp("npm")

    @app.get("/page")
    def page() -> str:
        tags = "".join(f'<script src="/library/{number}"></script>' for number in files)
        return render_template_string(f"<!doctype html>{SCRIPT}{tags}{body[-1]}")

    @app.get("/library/<int:number>")
    def library(number: int) -> Response:
        return Response(files[number], mimetype="text/javascript")

    def show(html: str, *packages: tuple[str, str]) -> Page:
        with needed():
            for number, package in enumerate(packages):
                files[number] = from_npm(*package, libraries)
        body.append(html)
        page = browser.new_page()
        page.set_default_timeout(15_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{url}/page")
        return page

    with served(app) as url:
        yield show
    for context in browser.contexts:
        context.close()
    assert [text for text in complaints if "favicon" not in text and "404" not in text] == []


@pytest.fixture
def streams(app: Flask, feedback: FeedbackBlueprint) -> None:
    """The documentation's streams, of an LLM that answers with TOKENS."""
    example(
        block("messages", "python", "event: message-id"),
        app=app,
        feedback=feedback,
        llm_stream=lambda _: TOKENS,
        json=json,
        Response=Response,
        request=request,
    )


def lines_of_json(more: threading.Event) -> Iterator[str]:
    """As they can come: two in one piece, and one in two."""
    first, second, third = [json.dumps({"text": token}) + "\n" for token in TOKENS]
    yield first + second + third[:5]
    more.wait(15)
    yield third[5:]


BUBBLE = '<p id="bubble"></p><message-feedback></message-feedback>'


def run_script(page: Page, code: str) -> None:
    """Run one of the scripts on a page with a bubble and an element."""
    page.evaluate(f"""() => {{
        const bubble = document.querySelector("#bubble"), prompt = "hi";
        const body = JSON.stringify({{prompt}});
        window.element = document.querySelector("message-feedback");
        (async () => {{ {code} }})();
    }}""")


def vote(page: Page, events: list[Any]) -> None:
    """Press the thumb; it is recorded for a message that was really kept."""
    good(page).click()
    says(page, RECORDED)
    assert [event["rating"] for event in events] == ["good"]


def test_the_example_of_an_event_stream_works(
    streams: None, show: Callable[..., Page], events: list[Any]
) -> None:
    page = show(BUBBLE)
    page.evaluate("""() => {
        window.EventSource = class extends EventSource {
            constructor(url) { super(url); window.source = this; }
        };
    }""")
    run_script(page, block("static", "js", "EventSource"))
    expect(page.locator("#bubble")).to_have_text(TEXT)
    vote(page, events)
    closed = "source.readyState === EventSource.CLOSED"
    page.wait_for_function(closed)  # or it would have the answer made again


def test_the_example_of_lines_of_json_works(
    app: Flask, feedback: FeedbackBlueprint, show: Callable[..., Page], events: list[Any]
) -> None:
    more = threading.Event()
    example(
        block("messages", "python", "def stream_view"),
        app=app,
        feedback=feedback,
        llm_stream=lambda _: lines_of_json(more),
        Response=Response,
        request=request,
    )
    page = show(BUBBLE)
    run_script(page, block("static", "js", "getReader"))
    expect(page.locator("#bubble")).to_have_text("".join(TOKENS[:2]))
    vote(page, events)  # while the answer comes
    more.set()
    expect(page.locator("#bubble")).to_have_text(TEXT)


def test_htmx_swaps_the_element_in(
    app: Flask, feedback: FeedbackBlueprint, show: Callable[..., Page], events: list[Any]
) -> None:
    names: dict[str, Any] = {"tokens": ["Not ", "at all."]}
    exec(
        f"def html_events(prompt, *, message_id):\n    {ELEMENT_OF_AN_EVENT}\n"
        '    yield from (f"data: {token}\\n\\n" for token in tokens)\n'
        '    yield "event: end\\ndata: \\n\\n"\n',
        names,
    )
    stream = feedback.trace_message(names["html_events"])

    @app.get("/events")
    def events_view() -> Response:
        return Response(stream(request.args["prompt"]), mimetype="text/event-stream")

    page = show(
        block("static", "html", "sse-connect"),
        ("htmx.org@2.0.7", "dist/htmx.min.js"),
        ("htmx-ext-sse@2.2.4", "sse.js"),
    )
    expect(page.get_by_text("Not at all.")).to_be_visible()
    vote(page, events)


def test_react_renders_it(
    streams: None, show: Callable[..., Page], events: list[Any], client: Any
) -> None:
    """JSX is what a compiler makes of it: a call with the attributes."""
    jsx = block("static", "jsx", "message-feedback")
    name, attributes = re.fullmatch(r"<([\w-]+) (.+) />\n", jsx).groups()
    pairs = re.findall(r'([\w-]+)=(?:{(.+?)}|(".+?"))', attributes)
    properties = ", ".join(f'"{key}": {code or text}' for key, code, text in pairs)
    page = show(
        '<div id="root"></div>',
        ("react@18.3.1", "umd/react.production.min.js"),
        ("react-dom@18.3.1", "umd/react-dom.production.min.js"),
    )
    page.evaluate(f"""() => {{
        const Reply = () => {{
            const [reply, setReply] = React.useState({{}});
            window.setReply = setReply;
            return React.createElement("{name}", {{{properties}}});
        }};
        ReactDOM.createRoot(document.querySelector("#root")).render(React.createElement(Reply));
    }}""")
    page.wait_for_function("!!window.setReply")
    expect(element(page)).to_be_hidden()
    message_id = client.get("/chat").json["message_id"]
    page.evaluate("messageId => setReply({messageId})", message_id)
    button(page, "4 of 5").click()
    says(page, RECORDED)
    assert [event["rating"] for event in events] == [4]


INSIDE = '<p id="bubble"><message-feedback></message-feedback></p>'


@pytest.mark.parametrize("way", ["append", "insertAdjacentText"])
def test_text_that_is_added_leaves_the_element_in_the_bubble_alone(
    streams: None, show: Callable[..., Page], events: list[Any], way: str
) -> None:
    page = show(INSIDE)
    code = block("static", "js", "EventSource")
    if way == "insertAdjacentText":
        code = code.replace("bubble.append(", 'bubble.insertAdjacentText("beforeend", ')
    run_script(page, code)
    expect(page.locator("#bubble")).to_contain_text(TEXT)
    assert page.evaluate("element.isConnected")
    vote(page, events)


def test_append_keeps_an_element_inside_and_inner_html_replaces_it(
    streams: None, show: Callable[..., Page], events: list[Any], client: Any
) -> None:
    page = show(INSIDE)
    run_script(
        page, 'element.setAttribute("message-id", "' + client.get("/chat").json["message_id"] + '")'
    )
    vote(page, events)
    comment = element(page).get_by_role("textbox")
    comment.fill("half written")
    page.evaluate('bubble.append("more")')
    expect(comment).to_have_value("half written")
    page.evaluate('bubble.innerHTML += "more"')
    element(page).get_by_role("button", name="Say more").click()
    expect(comment).to_have_value("")
    assert not page.evaluate("element.isConnected")
    page.evaluate('bubble.textContent += "more"')
    expect(element(page)).to_have_count(0)


@pytest.fixture
def response_of_chat(show: Callable[..., Page]) -> Page:
    """A page that has the app's answer to a chat, and its ID, for a script of its own."""
    page = show("<p></p>")
    page.evaluate("""async () => {
        window.response = await fetch("/chat");
        window.message_id = response.headers.get("X-Message-ID");
    }""")
    return page


def test_buttons_of_ones_own_use_the_queue(response_of_chat: Page, events: list[Any]) -> None:
    code = block("static", "js", "sendFeedback, retractFeedback")
    code += "window.read = {feedback, rateable, messageId};"
    response_of_chat.add_script_tag(type="module", content=code)
    response_of_chat.wait_for_function("window.read")
    read = response_of_chat.evaluate("read")
    assert read["feedback"] == []
    assert read["rateable"] == [read["messageId"]]
    assert [event["rating"] for event in events] == ["good", "retracted"]
    assert events[0]["message"] == "Just what I needed"


def test_fetch_does_it_without_the_queue(response_of_chat: Page, events: list[Any]) -> None:
    code = block("static", "js", "JSON.stringify({message_id")
    response_of_chat.evaluate(f"async () => {{ {code} }}")
    assert [(event["rating"], event["category"]) for event in events] == [("good", "informative")]
