"""Three browser engines, each driven by what it speaks: WebDriver, or WebDriver BiDi."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

from browser import FLAGS, need
from processes import Group, ToolMissingError, environment, free_port, tail, wait_until

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

Actions = list[dict[str, Any]]
"""Of a mouse or a keyboard, as WebDriver and WebDriver BiDi both take them."""


class Engine(ABC):
    """A browser with one window."""

    @abstractmethod
    def open(self, url: str) -> None: ...

    @abstractmethod
    def back(self) -> None: ...

    @abstractmethod
    def reload(self) -> None: ...

    @abstractmethod
    def run(self, body: str, *arguments: Any) -> Any:
        """Run a function's body in the page; what comes and goes is JSON."""

    @abstractmethod
    def perform(self, actions: Actions) -> None: ...


class ByWebDriver(Engine):
    """Chromium and WebKit."""

    def __init__(self, driver: WebDriver) -> None:
        self._driver = driver
        driver.set_script_timeout(20)

    def open(self, url: str) -> None:
        self._driver.get(url)

    def back(self) -> None:
        self._driver.back()

    def reload(self) -> None:
        self._driver.refresh()

    def run(self, body: str, *arguments: Any) -> Any:
        return self._driver.execute_script(body, *arguments)

    def perform(self, actions: Actions) -> None:
        self._driver.execute("actions", {"actions": actions})


class ByBiDi(Engine):
    """Firefox, which speaks it without a driver between."""

    def __init__(self, url: str) -> None:
        from websocket import create_connection

        self._socket = create_connection(f"{url}/session", suppress_origin=True, timeout=60)
        self._last = 0
        self._command("session.new", capabilities={})
        # The one that it began with never has the focus.
        self._window = self._command("browsingContext.create", type="window")

    def _command(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._last:
            pass  # an event
        assert answer["type"] == "success", answer
        return answer["result"]

    def _context(self, method: str, **params: Any) -> Any:
        return self._command(method, context=self._window["context"], **params)

    def open(self, url: str) -> None:
        self._context("browsingContext.navigate", url=url, wait="complete")

    def back(self) -> None:
        self._context("browsingContext.traverseHistory", delta=-1)

    def reload(self) -> None:
        self._context("browsingContext.reload", wait="complete")

    def run(self, body: str, *arguments: Any) -> Any:
        called = self._command(
            "script.callFunction",
            functionDeclaration="(given) => JSON.stringify("
            f"(function () {{ {body} }}).apply(null, JSON.parse(given)) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(arguments)}],
            target={"context": self._window["context"]},
            awaitPromise=False,
        )
        assert called["type"] == "success", called
        return json.loads(called["result"]["value"])

    def perform(self, actions: Actions) -> None:
        self._context("input.performActions", actions=actions)

    def close(self) -> None:
        self._socket.close()


def program(package: str, *names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise ToolMissingError(f"no {package}: install one")


@contextmanager
def web_driver(program: str, options: Any, env: dict[str, str]) -> Iterator[WebDriver]:
    """What a driver of its own has opened; nothing of it outlives the tests."""
    from selenium.webdriver import Remote

    port = free_port()
    process = Group([program, f"--port={port}"], env=env, stdout=DEVNULL, stderr=DEVNULL)
    try:
        wait_until(lambda: listens(port), f"{program} to listen")
        driver = Remote(f"http://127.0.0.1:{port}", options=options)
        yield driver
        driver.quit()
    finally:
        process.end()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@contextmanager
def chromium(directory: Path) -> Iterator[Engine]:
    binary = program("chromium", "chromium", "google-chrome")
    driver_path = program("chromedriver for the chromium", "chromedriver")
    need("selenium")
    from selenium.webdriver import ChromeOptions

    options = ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, "--window-size=375,720", f"--user-data-dir={directory}"]:
        options.add_argument(flag)
    with web_driver(driver_path, options, environment({})) as driver:
        yield ByWebDriver(driver)


#: Nothing is asked of any server but the tests' own.
FIREFOX = """
user_pref("app.update.disabledForTesting", true);
user_pref("browser.safebrowsing.downloads.remote.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.systemAddon.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.server", "data:,");
"""


@contextmanager
def firefox(directory: Path) -> Iterator[Engine]:
    binary = program("firefox", "firefox-esr", "firefox")
    need("websocket-client", "websocket")
    (directory / "user.js").write_text(FIREFOX)
    log = directory / "firefox.log"
    command = [binary, "--headless", "--no-remote", "--remote-debugging-port=0"]
    command += ["--width=375", "--height=720", "--profile", str(directory), "about:blank"]
    env = environment({"HOME": str(directory), "MOZ_CRASHREPORTER_DISABLE": "1"})
    with log.open("wb") as output:
        process = Group(command, env=env, stdout=output, stderr=output)
    try:
        said = wait_until(lambda: re.search(r"ws://\S+", log.read_text()), "Firefox to listen")
        with closing(ByBiDi(said[0])) as engine:
            yield engine
    except AssertionError as error:
        raise AssertionError(f"{error}\n{tail(log)}") from error
    finally:
        process.end()


@contextmanager
def screen(directory: Path) -> Iterator[str]:
    """A display that nobody looks at."""
    xvfb = program("xvfb for webkit", "Xvfb")
    reading, writing = os.pipe()
    with (directory / "xvfb.log").open("wb") as log:
        process = Group(
            [xvfb, "-displayfd", str(writing), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
            pass_fds=[writing],
            stdout=log,
            stderr=log,
        )
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            yield f":{number.readline().strip()}"
    finally:
        process.end()


@contextmanager
def webkit(directory: Path) -> Iterator[Engine]:
    driver_path = program("webkit", "WebKitWebDriver")
    need("selenium")
    from selenium.webdriver import WebKitGTKOptions

    with screen(directory) as display:
        env = environment({"DISPLAY": display, "HOME": str(directory), "GDK_BACKEND": "x11"})
        with web_driver(driver_path, WebKitGTKOptions(), env) as driver:
            driver.switch_to.new_window("window")  # a tab stays hidden
            driver.set_window_rect(0, 0, 375, 720)
            yield ByWebDriver(driver)


ENGINES: dict[str, Callable[[Path], Any]] = {
    "chromium": chromium,
    "firefox": firefox,
    "webkit": webkit,
}
