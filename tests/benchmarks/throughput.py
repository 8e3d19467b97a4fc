"""Requests a second of apps with ours, with what people write by hand, and with neither."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from collector import Collector
from gunicorn_server import Gunicorn
from ratio import Ratio
from redis_server import RedisServer

HERE = Path(__file__).parent
HAND = "by_hand"
NAMES = {
    "bare": "bare Flask, nothing kept",
    "by_hand": "twenty lines by hand, Redis",
    "ours": "this blueprint, Redis",
    "embedded": "this blueprint, SQLite",
}

#: The most that New Relic grants a process: 10,000 custom events a minute, sent every 5 seconds.
HARVEST = {
    "event_harvest_config": {
        "report_period_ms": 5000,
        "harvest_limits": {"custom_event_data": 833},
    }
}

#: Seconds for the chats and for the votes of each round, by app.
Took = dict[str, list[tuple[float, float]]]


class Load:
    """The generator's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "load.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, port: int, path: str, bodies: list[dict[str, str]]) -> tuple[float, list]:
        """Send requests; how long they took, and what was answered."""
        assert self._process.stdin
        assert self._process.stdout
        order = {"port": port, "path": path, "bodies": [json.dumps(body) for body in bodies]}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended: see above")
        took, answers = json.loads(line)
        return took, answers

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def slice_of_work(load: Load, port: int, requests: int) -> tuple[float, float]:
    """Chat, then vote once on each of the messages; the seconds that each took."""
    chat, answers = load(port, "/chat", [{"prompt": "hello"}] * requests)
    votes = [
        {
            "message_id": answer["message_id"],
            "rating": "good",
            "category": "informative",
            "message": f"Just what I needed, says {uuid4().hex[:8]}",
        }
        for answer in answers
    ]
    vote, _ = load(port, "/feedback", votes)
    return chat, vote


@contextmanager
def apps(directory: Path, redis: RedisServer) -> Iterator[dict[str, int]]:
    """All apps, each with a worker; the ports they listen on."""
    with ExitStack() as stack:
        collector = stack.enter_context(Collector(directory, HARVEST))
        ports = {}
        for name in NAMES:
            (directory / name).mkdir()
            env = collector.environ() | {
                "BENCHMARK_REDIS_URL": redis.fresh_url(),
                "BENCHMARK_FILE": str(directory / name / "feedback.sqlite3"),
            }
            options = [f"--pythonpath={HERE}"]
            app = Gunicorn(f"benchmarked:{name}", directory / name, env=env, options=options)
            ports[name] = stack.enter_context(app).port
        yield ports


def throughput(
    directory: Path, redis: RedisServer, seconds: float, requests: int
) -> tuple[Took, int]:
    """Seconds for chats and votes of each app, round by round."""
    took: Took = {name: [] for name in NAMES}
    with apps(directory, redis) as ports, ExitStack() as stack:
        load = Load()
        stack.callback(load.end)
        for port in ports.values():
            slice_of_work(load, port, requests)  # to warm up
        deadline = time.monotonic() + seconds
        for number in itertools.count():
            for name in list(ports) if number % 2 else reversed(ports):
                took[name].append(slice_of_work(load, ports[name], requests))
            if time.monotonic() > deadline and number > 2:
                return took, number + 1
    raise AssertionError


def against_hand(took: Took, name: str, what: int) -> Ratio:
    pairs = zip(took[HAND], took[name], strict=True)
    return Ratio.of(hand[what] / other[what] for hand, other in pairs)
