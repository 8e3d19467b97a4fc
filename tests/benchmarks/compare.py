"""Ours beside what people write by hand and beside bare Flask, in one run: `--help` says how.

Each app has one gunicorn worker under the New Relic agent, which reports to the tests' collector.
Rounds alternate between the apps, there and back; what is compared are the medians of the ratios
within a round, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from collector import Collector
from picture import Bar, draw
from processes import environment
from ratio import Ratio
from redis_server import RedisServer
from throughput import HAND, HARVEST, NAMES, Took, against_hand, throughput
from weight import bytes_per_message

HERE = Path(__file__).parent
PICTURE = HERE.parent / "screenshots" / "benchmark.svg"


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
    load_before, requests = os.getloadavg()[0], arguments.requests
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        redis = stack.enter_context(RedisServer(directory / "redis"))
        took, rounds = throughput(directory, redis, arguments.seconds, requests)
        calls, p99 = latency(directory, redis, arguments.rounds)
        weights = bytes_per_message(redis, arguments.keys)
        start = start_up(directory, arguments.rounds)
    ratios = {n: [against_hand(took, n, what) for what in (0, 1)] for n in NAMES}
    yield from throughput_table(took, ratios, requests)
    yield ""
    yield from costs_table(weights, calls, p99, start)
    yield ""
    yield (
        f"{rounds} rounds of {requests} chats and as many votes an app, {arguments.keys:,} keys; "
        f"{os.cpu_count()} cores, load {load_before:.1f} before; "
        f"Python {sys.version.split()[0]}, one sync worker an app."
    )
    if arguments.picture:
        picture(ratios)


def throughput_table(took: Took, ratios: dict[str, list[Ratio]], requests: int) -> Iterator[str]:
    yield "| median (quartiles) | chats/s | votes/s |"
    yield "|---|---|---|"
    for name, label in NAMES.items():
        rates = [requests / statistics.median(each[what] for each in took[name]) for what in (0, 1)]
        cells = [
            f"**1.00** ({rate:.0f}/s)" if name == HAND else f"**{ratio}**"
            for ratio, rate in zip(ratios[name], rates, strict=True)
        ]
        yield f"| {label} | {' | '.join(cells)} |"


def costs_table(
    weights: tuple[float, float, float], calls: list, p99: Ratio, start: Ratio
) -> Iterator[str]:
    hand, ours, rated = weights
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


def picture(ratios: dict[str, list[Ratio]]) -> None:
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
