"""A chat and a vote in time of the ones by hand, in one process, in turns: `--help` says how.

The process runs under the agent in developer mode and calls the apps as a WSGI server would. It
sends each app so many requests of a kind, then the next app, there and back. What is compared are
ratios within a round. So it finds what a change of a hundredth does, which `sockets.py` cannot
see; what users get is what that says.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from ratio import Ratio
from redis_server import RedisServer
from under_agent import under_agent

PAIRS = {
    "ours / twenty lines by hand": ("ours", "by_hand"),
    "ours with a rater / the same guarantees by hand": ("owned", "by_hand_whole"),
}
"""What is compared: an app, and the one in whose time it is told."""

WARM_UP = 5
"""Rounds that are not counted."""

AGENT = {
    "NEW_RELIC_DEVELOPER_MODE": "true",
    "NEW_RELIC_LOG": "stderr",
    "NEW_RELIC_LOG_LEVEL": "critical",
    # So many that no vote of a run waits for the next harvest.
    "NEW_RELIC_CUSTOM_INSIGHTS_EVENTS_MAX_SAMPLES_STORED": "100000",
}

WSGI = Callable[[dict[str, Any], Any], Any]

Took = dict[str, list[tuple[float, float]]]
"""Seconds for the chats and for the votes of each round, by app."""


def alternating(
    directory: Path, redis: RedisServer, rounds: int = 120, requests: int = 20, *, cpu: bool = False
) -> dict[str, tuple[Ratio, Ratio]]:
    """Chats and votes of `PAIRS`, in time of the one by hand, or in that of its processor alone."""
    took = run(directory, redis, rounds, requests, cpu)
    return {
        label: (_ratio(took, *pair, 0), _ratio(took, *pair, 1)) for label, pair in PAIRS.items()
    }


def run(directory: Path, redis: RedisServer, rounds: int, requests: int, cpu: bool) -> Took:
    """Measure in a process of its own, under the agent."""
    settings = {"BENCHMARK_REDIS_URL": redis.fresh_url(), "BENCHMARK_FILE": str(directory / "f")}
    command = [sys.executable, __file__, "--inside"]
    result = subprocess.run(
        [*command, f"--rounds={rounds}", f"--requests={requests}", *["--cpu"] * cpu],
        env=under_agent(AGENT | settings),
        stdout=subprocess.PIPE,
        check=True,
    )
    took: Took = json.loads(result.stdout)
    return took


def _ratio(took: Took, name: str, by: str, what: int) -> Ratio:
    pairs = zip(took[name], took[by], strict=True)
    return Ratio.of(ours[what] / theirs[what] for ours, theirs in pairs)


# In the process


def measure(rounds: int, requests: int, clock: Callable[[], float]) -> Took:
    import benchmarked
    import by_hand_whole
    import newrelic.agent

    newrelic.agent.register_application(timeout=20)
    apps: dict[str, WSGI] = {
        "by_hand": benchmarked.by_hand,
        "ours": benchmarked.ours,
        "owned": benchmarked.owned,
        "by_hand_whole": by_hand_whole.app,
    }
    took: Took = {name: [] for name in apps}
    gc.disable()  # what one app leaves behind is not to be cleaned up in the time of another
    for number in range(-WARM_UP, rounds):
        gc.collect()
        for name in list(apps) if number % 2 else reversed(apps):
            each = chat_and_vote(apps[name], requests, clock)
            if number >= 0:
                took[name].append(each)
    return took


def chat_and_vote(app: WSGI, requests: int, clock: Callable[[], float]) -> tuple[float, float]:
    """Chat, then vote once on each of the messages; the seconds that each took."""
    chats = [environ("/chat", {"prompt": "hello"}) for _ in range(requests)]
    chat, answers = timed(app, chats, clock)
    votes = [
        {
            "message_id": json.loads(answer)["message_id"],
            "rating": "good",
            "category": "informative",
            "message": f"Just what I needed, says {uuid4().hex[:8]}",
        }
        for answer in answers
    ]
    vote, _ = timed(app, [environ("/feedback", each) for each in votes], clock)
    return chat, vote


def environ(path: str, body: dict[str, str]) -> dict[str, Any]:
    """What a server makes of a request, with the headers of a browser."""
    data = json.dumps(body).encode()
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate, br",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "HTTP_X_USER": "ada",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def timed(
    app: WSGI, environs: list[dict[str, Any]], clock: Callable[[], float]
) -> tuple[float, list[bytes]]:
    answers = []
    begin = clock()
    for each in environs:
        statuses: list[str] = []
        body = app(each, lambda status, *_, to=statuses: to.append(status))
        answers.append(b"".join(body))
        body.close()
        if not statuses[0].startswith("20"):
            raise SystemExit(f"{statuses[0]}: {answers[-1]!r}")
    return clock() - begin, answers


# The report


def report(rounds: int, requests: int, cpu: bool) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name) / "redis") as redis:
        ratios = alternating(Path(name), redis, rounds, requests, cpu=cpu)
    yield "| median (quartiles) | a chat | a vote |"
    yield "|---|---|---|"
    for label, (chat, vote) in ratios.items():
        yield f"| {label} | {chat} | {vote} |"
    yield ""
    yield f"{rounds} rounds of {requests} requests; Python {sys.version.split()[0]}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--requests", type=int, default=20, help="of each kind, app and round")
    parser.add_argument(
        "--cpu", action="store_true", help="measure no waiting: others use this machine"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        clock = time.thread_time if arguments.cpu else time.perf_counter
        print(json.dumps(measure(arguments.rounds, arguments.requests, clock)))
        return
    for line in report(arguments.rounds, arguments.requests, arguments.cpu):
        print(line)


if __name__ == "__main__":
    main()
