"""What a page with many messages costs: their votes in one GET, and the element's thumbs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from browser import chromium
from collector import Collector
from gunicorn_server import Gunicorn
from http_client import Client
from processes import ToolMissingError
from ratio import Effort, Ratio, percentile, ratio_of
from redis_server import RedisServer
from sockets import Load, apps, slice_of_work

IDS = (1, 10, 100)
THUMBS = (1, 20, 200)
REQUESTS = 10


# One GET


def read(server: Client, ids: list[str]) -> list[float]:
    """Milliseconds of some requests, one after the other."""
    took = []
    for _ in range(REQUESTS):
        start = time.perf_counter()
        answer = server.get(f"/feedback?{urlencode([('message_id', each) for each in ids])}")
        took.append((time.perf_counter() - start) * 1000)
        assert len(answer.json["rateable"]) == len(ids), answer.text
    return took


def rated(server: Gunicorn) -> list[str]:
    """Messages, half of them with a vote."""
    with Load() as load:
        slice_of_work(load, server.port, IDS[-1] // 2)
    ids = [server.post("/chat", {"prompt": "hello"}).json["message_id"] for _ in range(IDS[-1])]
    for message_id in ids[::2]:
        assert server.post("/feedback", {"message_id": message_id, "rating": "good"}).status == 202
    return ids


def reads(directory: Path, effort: Effort) -> dict[str, Any]:
    found = {}
    with (
        RedisServer(directory / "redis") as redis,
        apps(directory, redis, ("ours", "embedded")) as servers,
    ):
        for name, server in servers.items():
            ids, took = rated(server), {number: [] for number in IDS}
            for number in effort.of(0.5).rounds():
                for some in IDS if number % 2 else reversed(IDS):
                    took[some].append(read(server, ids[:some]))
            first = [percentile(each, 50) for each in took[IDS[0]]]
            found[name] = {
                str(some): {
                    "p50": Ratio.of(percentile(each, 50) for each in rounds),
                    "p99": Ratio.of(percentile(each, 99) for each in rounds),
                    "to one": ratio_of([percentile(each, 50) for each in rounds], first),
                }
                for some, rounds in took.items()
            }
    return found


# The element

#: When the module has arrived, when all elements are defined, painted, and know their votes.
WATCH = """
const {fetch} = window;
let asked = 0, waiting = 0;
window.fetch = (...all) => {
  asked++, waiting++;
  return fetch(...all).finally(() => waiting--);
};
const shown = new Promise((resolve) => {
  customElements.whenDefined("message-feedback").then(() => {
    const at = {defined: performance.now()};
    requestAnimationFrame(() => setTimeout(() => { at.painted = performance.now(); }));
    const look = () => {
      if (!at.painted || !asked || waiting) return requestAnimationFrame(look);
      const came = performance.getEntriesByType("resource");
      const scripts = came.filter(({name}) => name.includes("/feedback/static/"));
      at.arrived = Math.max(...scripts.map(({responseEnd}) => responseEnd));
      resolve({...at, asked, ready: performance.now()});
    };
    look();
  });
});
window.shown = shown;
"""


def thumbs(directory: Path, effort: Effort) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with RedisServer(directory / "redis") as redis, Collector(directory) as collector:
        env = collector.environ() | {"FLASK_FEEDBACK_STORE_URL": redis.url}
        options = {"worker_class": "gthread", "threads": 8}
        with (
            Gunicorn("element:app", directory, env=env, **options) as server,
            chromium() as browser,
        ):
            for number in THUMBS:
                query = urlencode({"ids": ",".join(f"{number}-{each}" for each in range(number))})
                seen = []
                for _ in effort.of(0.5 / len(THUMBS)).rounds():
                    page = browser.new_page()
                    page.add_init_script(WATCH)
                    page.goto(f"http://127.0.0.1:{server.port}/page?{query}")
                    seen.append(page.evaluate("shown"))
                    page.close()
                found[str(number)] = {
                    "define": Ratio.of(at["defined"] - at["arrived"] for at in seen),
                    "paint": Ratio.of(at["painted"] - at["arrived"] for at in seen),
                    "votes": Ratio.of(at["ready"] - at["arrived"] for at in seen),
                    "requests": max(at["asked"] for at in seen),
                }
    return found


# The section


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    found = {"reads": reads(directory, effort)}
    try:
        found["thumbs"] = thumbs(directory, effort)
    except ToolMissingError as missing:
        print(missing)
    return found


def render(found: dict[str, Any]) -> Iterator[str]:
    yield "| messages asked for in one GET | store | p50, ms | p99 | relative to one message |"
    yield "|---|---|---|---|---|"
    for name, store in (("ours", "Redis"), ("embedded", "SQLite")):
        for number, of in found["reads"][name].items():
            yield f"| {number} | {store} | {of['p50']:.1f} | {of['p99']:.1f} | {of['to one']} |"
    yield ""
    beside = (found["reads"][name][str(IDS[-1])]["to one"].median for name in ("ours", "embedded"))
    yield f"- {IDS[-1]} messages take {' and '.join(f'{each:.1f}' for each in beside)} times one."
    yield ""
    if "thumbs" in found:
        yield "| elements on a page, in Chromium | defined, ms | painted | votes shown | requests |"
        yield "|---|---|---|---|---|"
        for number, of in found["thumbs"].items():
            times = " | ".join(f"{of[what]:.0f}" for what in ("define", "paint", "votes"))
            yield f"| {number} | {times} | {of['requests']} |"
        yield ""
        (few, first), *_, (many, last) = found["thumbs"].items()
        yield (
            f"- {many} elements instead of {few} show their votes "
            f"{last['votes'].median - first['votes'].median:.0f} ms later, and ask "
            f"{last['requests']} times instead of {first['requests']}."
        )
