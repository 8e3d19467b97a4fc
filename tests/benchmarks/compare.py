"""Ours beside what people write by hand and beside bare Flask, in one run: `--help` says how.

Each app has one gunicorn worker under the New Relic agent, which reports to the tests' collector.
Rounds alternate between the apps, there and back; what is compared are the medians of the ratios
within a round, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

from collector import Collector
from gunicorn_server import Gunicorn
from picture import Bar, draw
from processes import environment
from redis_server import RedisServer

from feedback_blueprint.stores import ANYONE, Ballot, Message
from feedback_blueprint.stores.redis_layout import CONFIRM, VOTE, encode

HERE = Path(__file__).parent
PICTURE = HERE.parent / "screenshots" / "benchmark.svg"
HAND = "by_hand"
NAMES = {
    "bare": "bare Flask, nothing kept",
    "by_hand": "twenty lines by hand, Redis",
    "ours": "this blueprint, Redis",
    "embedded": "this blueprint, SQLite",
}
WEEK = 7 * 24 * 3600

#: The most that New Relic grants a process: 10,000 custom events a minute, sent every 5 seconds.
HARVEST = {"event_harvest_config": {"report_period_ms": 5000, "harvest_limits": {}}}
HARVEST["event_harvest_config"]["harvest_limits"] = {"custom_event_data": 833}


@dataclass(frozen=True)
class Ratio:
    """Median and quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Ratio:
        return cls(*statistics.quantiles(values, n=4))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


# Requests a second


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
) -> tuple[dict[str, list[tuple[float, float]]], int]:
    """Seconds for chats and votes of each app, round by round."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
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


def against_hand(took: dict[str, list[tuple[float, float]]], name: str, what: int) -> Ratio:
    pairs = zip(took[HAND], took[name], strict=True)
    return Ratio.of(hand[what] / other[what] for hand, other in pairs)


# Bytes


def used(redis: RedisServer) -> int:
    return int(redis.info("memory")["used_memory"])


def bytes_per_message(redis: RedisServer, keys: int) -> tuple[float, float, float]:
    """What Redis keeps of a message: written by hand, ours, and ours with a vote."""
    sizes = []
    ours = [f"fb:{os.urandom(16).hex()[:22]}" for _ in range(keys)]
    trace_ids = (uuid4().hex for _ in itertools.count())
    vote = b'["good","informative","Just what I needed"]'

    def by_hand(key: str) -> list[tuple[object, ...]]:
        return [("SET", f"feedback:{uuid4().hex}", next(trace_ids), "EX", WEEK)]

    def stash(key: str) -> list[tuple[object, ...]]:
        return [("SET", key, encode(Message(next(trace_ids))), "PX", WEEK * 1000, "NX")]

    def rate(key: str) -> list[tuple[object, ...]]:
        ballot = Ballot(vote, os.urandom(8), 20)
        return [
            ("EVALSHA", vote_script, 1, key, *ballot, ANYONE),
            ("EVALSHA", confirm_script, 1, key, b"p" + ANYONE, ballot.attempt),
        ]

    with redis.client() as client:
        client.flushall()
        vote_script, confirm_script = client.script_load(VOTE), client.script_load(CONFIRM)
        empty = used(redis)
        for commands, flush in ((by_hand, True), (stash, False), (rate, True)):
            send(client, ours, commands)
            sizes.append((used(redis) - empty) / keys)
            if flush:
                client.flushall()
    return sizes[0], sizes[1], sizes[2]


def send(
    client: object, keys: Sequence[str], commands: Callable[[str], list[tuple[object, ...]]]
) -> None:
    """Send the commands of all keys, a thousand keys at a time."""
    for first in range(0, len(keys), 1000):
        pipeline = client.pipeline(transaction=False)  # type: ignore[attr-defined]
        for key in keys[first : first + 1000]:
            for command in commands(key):
                pipeline.execute_command(*command)
        pipeline.execute()


# Start-up and latency

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


def start_up(directory: Path, times: int) -> Ratio:
    """Milliseconds to import and register, when what it is built on is there and compiled."""
    env = environment({"PYTHONPYCACHEPREFIX": str(directory / "compiled")})
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", START]
    runs = [subprocess.check_output(command, env=env) for _ in range(times + 1)]
    return Ratio.of(float(took) * 1000 for took in runs[1:])


def latency(directory: Path, redis: RedisServer, rounds: int) -> tuple[list, Ratio]:
    """p50 and p99 of raw and decorated calls; how many times p99 over p50 ours is the raw one."""
    with Collector(directory, HARVEST) as collector:
        env = environment(collector.environ() | {"BENCHMARK_REDIS_URL": redis.fresh_url()})
        command = [sys.executable, "-m", "newrelic.admin", "run-program", sys.executable]
        command += [str(HERE / "latency.py"), str(rounds), "150"]
        run = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    results = json.loads(run.stdout)
    ratio = Ratio.of((ours[1] / ours[0]) / (raw[1] / raw[0]) for raw, ours in results)
    return results, ratio


# The report


def report(arguments: argparse.Namespace) -> Iterator[str]:
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        redis = stack.enter_context(RedisServer(Path(directory, "redis")))
        requests = arguments.requests
        took, rounds = throughput(Path(directory), redis, arguments.seconds, requests)
        calls, p99 = latency(Path(directory), redis, arguments.rounds)
        hand, ours, rated = bytes_per_message(redis, arguments.keys)
        start = start_up(Path(directory), arguments.rounds)
    ratios = {n: [against_hand(took, n, what) for what in (0, 1)] for n in NAMES}
    rates = {
        name: [requests / statistics.median(slice_[what] for slice_ in slices) for what in (0, 1)]
        for name, slices in took.items()
    }
    yield "| median (quartiles) | chats/s | votes/s |"
    yield "|---|---|---|"
    for name, label in NAMES.items():
        cells = [
            f"**1.00** ({rate:.0f}/s)" if name == HAND else f"**{ratio}**"
            for ratio, rate in zip(ratios[name], rates[name], strict=True)
        ]
        yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield "| | by hand | ours | ours / by hand |"
    yield "|---|---|---|---|"
    yield (
        f"| bytes in Redis of a message that nobody rated "
        f"| {hand:.0f} | {ours:.0f} | {ours / hand:.2f} |"
    )
    yield f"| of a rated one, with its comment | - | {rated:.0f} | {rated / hand:.2f} |"
    raw50, raw99, ours50, ours99 = (
        statistics.median(result[which][part] for result in calls) * 1000
        for which, part in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    yield (
        f"| p50, p99 of a call, 8 threads | {raw50:.1f}, {raw99:.1f} ms "
        f"| {ours50:.1f}, {ours99:.1f} ms | p99/p50: {p99} |"
    )
    spread = f"{start.median:.0f} ms ({start.low:.0f} to {start.high:.0f})"
    yield f"| import and registration, over what it is built on | - | {spread} | - |"
    yield ""
    yield (
        f"{rounds} rounds of {requests} chats and as many votes an app, {arguments.keys:,} keys; "
        f"{os.cpu_count()} cores, load {load_before:.1f} before; "
        f"Python {sys.version.split()[0]}, one sync worker an app."
    )
    if arguments.picture:
        bars = [
            [Bar(label, *astuple(ratios[name][what])) for name, label in NAMES.items()]
            for what in (0, 1)
        ]
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(draw({"Chats a second": bars[0], "New votes a second": bars[1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half a minute, to see that it works")
    parser.add_argument("--seconds", type=float, default=90, help="of requests")
    parser.add_argument("--requests", type=int, default=100, help="of each kind, app and round")
    parser.add_argument("--keys", type=int, default=1_000_000, help="in Redis, to weigh them")
    parser.add_argument("--rounds", type=int, default=11, help="of start-up and latency")
    parser.add_argument("--picture", action="store_true", help=f"also write {PICTURE.name}")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.seconds, arguments.keys, arguments.rounds = 10, 20_000, 3
    for line in report(arguments):
        print(line)


if __name__ == "__main__":
    main()
