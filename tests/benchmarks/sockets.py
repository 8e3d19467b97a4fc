"""Requests a second of apps with ours, with what people write by hand, and with neither.

Each app has one gunicorn worker under the New Relic agent, which reports to the tests' collector.
Rounds alternate between the apps, there and back; what is compared are the medians of the ratios
within a round.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from collector import Collector
from filling import PATIENCE
from gunicorn_server import Gunicorn
from processes import environment
from ratio import Effort, Ratio, percentile, ratio_of
from redis_server import RedisServer

HERE = Path(__file__).parent
HAND = "by_hand"
NAMES = {
    "bare": "bare Flask, nothing kept",
    "by_hand": "twenty lines by hand, Redis",
    "ours": "this blueprint, Redis",
    "embedded": "this blueprint, SQLite",
}
REQUESTS = 100

#: The most that New Relic grants a process: 10,000 custom events a minute, sent every 5 seconds.
HARVEST = {
    "event_harvest_config": {
        "report_period_ms": 5000,
        "harvest_limits": {"custom_event_data": 833},
    }
}


class Load:
    """The generator's process."""

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "load.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(
        self, port: int, path: str, bodies: Iterable[dict[str, str]], clients: int
    ) -> tuple[float, list[float], list[Any]]:
        """Send requests; how long all took, each took, and what was answered."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"port": port, "path": path, "bodies": [json.dumps(body) for body in bodies]}
        print(json.dumps(order | {"clients": clients}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended: see above")
        took, each, answers = json.loads(line)
        return took, each, answers


@dataclass(frozen=True)
class Slice:
    """Chats, then a vote on each of the messages: seconds that all took, and each; refusals."""

    chats: float
    votes: float
    chat: list[float]
    vote: list[float]
    refused: int = 0


def slice_of_work(
    load: Load, port: int, requests: int = REQUESTS, clients: int = 8, *, may_refuse: bool = False
) -> Slice:
    chats, chat, answers = load(port, "/chat", [{"prompt": "hello"}] * requests, clients)
    bodies = [
        {
            "message_id": answer["message_id"],
            "rating": "good",
            "category": "informative",
            "message": f"Just what I needed, says {uuid4().hex[:8]}",
        }
        for answer in answers
        if answer
    ]
    votes, vote, accepted = load(port, "/feedback", bodies, clients)
    refused = answers.count(None) + accepted.count(None)
    if refused and not may_refuse:
        raise SystemExit(f"{refused} of {len(answers)} chats and their votes were refused")
    return Slice(chats, votes, chat, vote, refused)


@contextmanager
def apps(
    directory: Path,
    redis: RedisServer,
    names: Iterable[str] = NAMES,
    timeout: float = PATIENCE,
    **options: Any,
) -> Iterator[dict[str, Gunicorn]]:
    """The apps of `benchmarked.py`, each in a gunicorn of its own, under the agent.

    `timeout` is that of ours for its store.
    """
    options["options"] = [f"--pythonpath={HERE}", *options.get("options", ())]
    with ExitStack() as stack:
        collector = stack.enter_context(Collector(directory, HARVEST))
        servers = {}
        for name in names:
            (directory / name).mkdir(exist_ok=True)
            env = collector.environ() | {
                "BENCHMARK_REDIS_URL": redis.fresh_url(),
                "BENCHMARK_FILE": str(directory / name / "feedback.sqlite3"),
                "FLASK_FEEDBACK_STORE_TIMEOUT": str(timeout),
            }
            app = Gunicorn(f"benchmarked:{name}", directory / name, env=env, **options)
            servers[name] = stack.enter_context(app)
        yield servers


def alternate(
    servers: dict[str, Gunicorn],
    effort: Effort,
    requests: int = REQUESTS,
    clients: int = 8,
    *,
    may_refuse: bool = False,
) -> dict[str, list[Slice]]:
    """The slices of each app, round by round."""
    slices: dict[str, list[Slice]] = {name: [] for name in servers}
    with Load() as load:
        for server in servers.values():
            slice_of_work(load, server.port, requests, clients, may_refuse=True)  # to warm up
        for number in effort.rounds():
            for name in list(servers) if number % 2 else reversed(servers):
                port = servers[name].port
                each = slice_of_work(load, port, requests, clients, may_refuse=may_refuse)
                slices[name].append(each)
    return slices


def summary(slices: Sequence[Slice], by_hand: Sequence[Slice]) -> dict[str, Any]:
    """Requests a second, also beside those by hand; milliseconds of a request; what was refused."""
    found: dict[str, Any] = {"refused": sum(one.refused for one in slices)}
    for what, each in (("chats", "chat"), ("votes", "vote")):
        seconds = [getattr(one, what) for one in slices]
        took = [getattr(one, each) for one in slices]
        found[what] = Ratio.of(len(t) / s for t, s in zip(took, seconds, strict=True))
        found[f"{what} to hand"] = ratio_of([getattr(one, what) for one in by_hand], seconds)
        for percent in (50, 99):
            found[f"{each} p{percent}"] = Ratio.of(percentile(t, percent) * 1000 for t in took)
    return found


START = """
import flask, marshmallow, newrelic.agent, redis
app = flask.Flask("start")
app.config["FEEDBACK_STORE_URL"] = "redis://localhost/0"
import time
start = time.perf_counter()
from feedback_blueprint import FeedbackBlueprint
app.register_blueprint(FeedbackBlueprint())
print(time.perf_counter() - start)
"""


def start_up(times: int) -> Ratio:
    """Milliseconds to import and register, when what it is built on is there and compiled."""
    env = environment({})
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", START]
    runs = [subprocess.check_output(command, env=env) for _ in range(times + 1)]
    return Ratio.of(float(took) * 1000 for took in runs[1:])


def measure(directory: Path, effort: Effort) -> dict[str, Any]:
    requests = 8 if effort.is_quick else REQUESTS
    with RedisServer(directory / "redis") as redis, apps(directory, redis) as servers:
        slices = alternate(servers, effort, requests)
    found = {name: summary(each, slices[HAND]) for name, each in slices.items()}
    return {
        "rounds": len(slices[HAND]),
        "requests": requests,
        "apps": found,
        "start-up": start_up(2 if effort.is_quick else 11),
    }


def render(found: dict[str, Any]) -> Iterator[str]:
    yield "| | chats/s | votes/s | chats, relative to by hand | votes, relative to by hand |"
    yield "|---|---|---|---|---|"
    for name, label in NAMES.items():
        of = found["apps"][name]
        beside = " | ".join(
            "**1.00**" if name == HAND else f"**{of[f'{what} to hand']}**"
            for what in ("chats", "votes")
        )
        yield f"| {label} | {of['chats']:.0f} | {of['votes']:.0f} | {beside} |"
    yield ""
    yield "| ms, 8 requests under way | chat, p50 | chat, p99 | vote, p50 | vote, p99 |"
    yield "|---|---|---|---|---|"
    for name, label in NAMES.items():
        of = found["apps"][name]
        cells = (of[f"{what} p{percent}"] for what in ("chat", "vote") for percent in (50, 99))
        yield f"| {label} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"
    yield ""
    yield (
        f"{found['rounds']} rounds of {found['requests']} chats and as many votes for each app. "
        f"Import and registration take {found['start-up']:.0f} ms, in addition to those of Flask, "
        "marshmallow, redis and the agent."
    )
