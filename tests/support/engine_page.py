"""A page with <message-feedback> in it, in each engine in turn, and what a person does and sees."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from engines import ENGINES, Actions, Engine
from gunicorn_server import Gunicorn, StartServer
from needed import needed
from processes import wait_until
from proxy import Proxy

TAB, ENTER, SPACE = "\ue004", "\ue007", " "

#: What the bodies below begin with: what the element shows.
SHOWN = """
    const [name] = arguments;
    const root = document.querySelector("message-feedback")?.shadowRoot;
    const isShown = (node) => node.checkVisibility();
    const all = (selector) => [...root?.querySelectorAll(selector) ?? []].filter(isShown);
    const nameOf = (node) => node?.getAttribute("aria-label") ?? node?.textContent ?? null;
    const named = all("button, textarea").find((node) => nameOf(node) === name);
"""


class Person:
    """Somebody who looks at a page with one element."""

    def __init__(self, engine: Engine, server: Gunicorn, network: Proxy) -> None:
        self.engine, self.server, self.network = engine, server, network
        self.origin = f"http://127.0.0.1:{network.port}"

    # What is done

    def open(self, *ids: str, attributes: str = "", **query: str) -> None:
        asked = {"ids": ",".join(ids), "attributes": attributes} | query
        self.engine.open(f"{self.origin}/page?{urlencode(asked)}")
        wait_until(
            lambda: self.engine.run("return !!customElements.get('message-feedback')"), "the script"
        )

    def press(self, name: str, times: int = 1) -> None:
        """Click on what has this name, with the mouse."""
        center = """
            named?.scrollIntoView({block: "center"});
            const {x, y, width, height} = named?.getBoundingClientRect() ?? {};
            const isReady = named && named.getAttribute('aria-disabled') !== 'true';
            return isReady ? [x + width / 2, y + height / 2] : null;
        """
        x, y = wait_until(lambda: self._see(center, name), f"{name!r} to be there")
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        to = {"type": "pointerMove", "x": int(x), "y": int(y), "duration": 0}
        self.engine.perform(
            [
                {
                    "type": "pointer",
                    "id": "mouse",
                    "parameters": {"pointerType": "mouse"},
                    "actions": [to, *[down, up] * times],
                }
            ]
        )

    def type(self, *texts: str) -> None:
        strokes: Actions = [
            {"type": kind, "value": key}
            for text in texts
            for key in text
            for kind in ("keyDown", "keyUp")
        ]
        self.engine.perform([{"type": "key", "id": "keyboard", "actions": strokes}])

    def has_answered(self, status: int, **body: Any) -> None:
        """Have the next vote answered so."""
        asked = urlencode({"status": status, "body": json.dumps(body)})
        assert self.server.get(f"/instead?{asked}").status == 200

    # What is seen

    def _see(self, body: str, name: str = "") -> Any:
        return self.engine.run(SHOWN + body, name)

    def says(self, text: str) -> None:
        status = "return root?.querySelector('[role=status]').textContent"
        self.until(lambda: text in (self._see(status) or ""), f"the element to say {text!r}")

    def pressed(self, name: str, yes: bool = True) -> None:
        body = "return named?.getAttribute('aria-pressed') ?? null"
        state = "true" if yes else "false"
        self.until(lambda: self._see(body, name) == state, f"{name} {state}")

    def shows(self, name: str, yes: bool = True) -> None:
        self.until(lambda: self._see("return !!named", name) == yes, name)

    def enabled(self, name: str, yes: bool = True) -> None:
        body = "return named && named.getAttribute('aria-disabled') !== 'true'"
        self.until(lambda: self._see(body, name) is yes, name)

    def focused(self) -> str | None:
        """The name of what has the focus."""
        return self._see("return nameOf(root.activeElement)")

    def comment(self) -> str:
        return self._see("return root.querySelector('textarea').value")

    def height(self) -> float:
        """Of the comment's box."""
        return self._see("return root.querySelector('textarea').offsetHeight")

    def kept(self) -> int:
        """How many votes wait to be acknowledged."""
        return self.engine.run(
            "return Object.keys(localStorage).filter((k) => k.startsWith('feedback ')).length"
        )

    def asked(self) -> list[str]:
        """By which methods the blueprint was asked since the last time."""
        return self.server.get("/asked").json

    def until(self, condition: Any, what: str) -> None:
        try:
            wait_until(condition, what, timeout=20)
        except AssertionError as error:
            seen = self._see("return root?.innerHTML.replace(/<svg.*?svg>/g, '')")
            raise AssertionError(f"{error}\n{seen}") from None


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A browser of each engine in turn, for one file of tests."""
    with needed(), ENGINES[request.param](tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def engine_server(engine: Engine, chat_server: StartServer) -> Iterator[Gunicorn]:
    with chat_server("element:app", threads=8) as running:
        yield running


@pytest.fixture
def person(engine: Engine, engine_server: Gunicorn) -> Iterator[Person]:
    with Proxy(engine_server.port) as network:
        person = Person(engine, engine_server, network)
        person.asked()
        yield person
        assert person.engine.run("return window.complaints") == []
        person.engine.open("about:blank")
