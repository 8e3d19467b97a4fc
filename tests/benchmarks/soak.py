"""Mixed traffic for minutes on end, with faults at random: is anything lost that was answered 202?

    python tests/benchmarks/soak.py [MINUTES] [--seed SEED]

Two workers on a Sentinel trio. What is lost is named, and the exit status is then 1. The agent
harvests each second, and a lease of a vote ends after seven, as it gives a request up after one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import redis
from arrival import of_priority
from collector import Collector, Event
from gunicorn_server import Gunicorn
from http_client import Response
from processes import wait_until
from redis_sentinel import RedisSentinel

USERS = 8
PATIENCE = 30  # seconds that a user tries to have a vote taken
FEW = 300  # events of one harvest
CONNECT = {
    "event_harvest_config": {"report_period_ms": 1000, "harvest_limits": {"custom_event_data": FEW}}
}
Recorded = tuple[str, str, int, Any]


class Clock(Collector):
    """A collector that knows when each vote first arrived."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.first: dict[Recorded, float] = {}

    def receive(self, events: list[Event]) -> None:
        for event in events:
            if event["type"] == "LlmFeedbackMessage":
                self.first.setdefault(as_recorded(event), time.time())
        super().receive(events)


class User:
    """Chats, votes, changes the vote, takes it back, reads it, as chance will have it."""

    def __init__(self, soak: Soak, seed: int) -> None:
        self.soak, self.chance = soak, random.Random(seed)

    def run(self) -> None:
        while not self.soak.over.wait(self.chance.uniform(0.01, 0.1)):
            message_id = self.soak.chat()
            if message_id is None:
                continue
            self.until_taken(lambda: self.soak.vote(message_id, "good"))  # noqa: B023  # called at once
            if self.chance.random() < 0.3:
                vote = {"category": "wrong", "message": "On second thought … " * 30}
                self.until_taken(lambda: self.soak.vote(message_id, "bad", **vote))  # noqa: B023  # called at once
            if self.chance.random() < 0.2:
                self.until_taken(lambda: self.soak.retract(message_id))  # noqa: B023  # called at once
            if self.chance.random() < 0.5:
                self.soak.read(message_id)

    def until_taken(self, cast: Callable[[], Response | None]) -> None:
        """Send it again if it is refused: half of the time at once, else when told to."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = cast()
            if answer is not None and answer.status != 503:
                return
            patient = answer is not None and self.chance.random() < 0.5
            self.soak.over.wait(
                float(answer.headers["Retry-After"]) if answer and patient else 0.02
            )


class Soak:
    def __init__(self, server: Gunicorn, sentinel: RedisSentinel, collector: Clock) -> None:
        self.server, self.sentinel, self.collector = server, sentinel, collector
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.acknowledged: dict[Recorded, float] = {}
        self._lock = threading.Lock()

    def _ask(self, what: str, call: Callable[[], Response]) -> Response | None:
        """Call the server, which may be down."""
        try:
            return call()
        except (OSError, HTTPException):
            self._count(f"{what}, no server")
            self.over.wait(0.1)
            return None

    def chat(self) -> str | None:
        answer = self._ask("message", lambda: self.server.post("/plain", {"prompt": "hello"}))
        if answer is None:
            return None
        if answer.status != 200 or answer.json["reply"] != "hello":
            raise AssertionError(f"the chat was touched: {answer.status} {answer.text}")
        message_id = answer.headers["X-Message-ID"]
        self._count("message, rateable" if message_id else "message, not rateable")
        return message_id

    def vote(self, message_id: str, rating: str, **vote: str) -> Response | None:
        vote |= {"message_id": message_id, "rating": rating}
        return self._told("vote", lambda: self.server.post("/feedback", vote), rating)

    def retract(self, message_id: str) -> Response | None:
        path = f"/feedback?message_id={message_id}"
        return self._told("retraction", lambda: self.server.request("DELETE", path), "retracted")

    def read(self, message_id: str) -> None:
        path = f"/feedback?message_id={message_id}"
        self._told("reading", lambda: self.server.get(path), None)

    def _told(self, what: str, call: Callable[[], Response], rating: str | None) -> Response | None:
        answer = self._ask(what, call)
        if answer is None:
            return None
        code = f" {answer.json['code']}" if answer.status >= 400 else ""
        self._count(f"{what}, {answer.status}{code}")
        if answer.status == 202:
            said = answer.json
            recorded = said["message_id"], said["feedback_id"], said["revision"], rating
            with self._lock:
                self.acknowledged[recorded] = time.time()
        return answer

    def _count(self, what: str) -> None:
        with self._lock:
            self.answers[what] += 1

    # The faults, one after the other

    def freeze(self, chance: random.Random) -> None:
        primary = self.sentinel.primary
        with primary.frozen():
            time.sleep(chance.uniform(0.05, 3))  # the length of the outage

    def kill(self, _: random.Random) -> None:
        primary = self.sentinel.primary
        with primary.down():
            self.sentinel.wait_failover(primary)

    def fail_over(self, _: random.Random) -> None:
        primary = self.sentinel.primary
        self.sentinel.sentinels[0].ask("SENTINEL", "FAILOVER", self.sentinel.service)
        try:
            self.sentinel.wait_failover(primary)
        except AssertionError:  # a Sentinel may think better of it, and the primary stays
            print("  no failover", flush=True)

    def cut(self, _: random.Random) -> None:
        with suppress(redis.ConnectionError):
            self.sentinel.primary.ask("CLIENT", "KILL", "TYPE", "normal")

    def refuse(self, chance: random.Random) -> None:
        """New Relic answers some requests of one kind with one status."""
        kind = chance.choice(["analytic_event_data", "custom_event_data"])
        status = chance.choice([0, 400, 401, 409, 413, 429, 502, 503, 504])
        self._say(f"  {status} on {kind}")
        self.collector.fail(kind, status, times=chance.randint(1, 5))
        self.collector.wait_failed(kind, timeout=60)

    def disconnect(self, _: random.Random) -> None:
        """New Relic ends a worker's agent for good; the worker is replaced."""
        self.collector.fail("analytic_event_data", 410)
        self.collector.wait_failed("analytic_event_data", timeout=60)
        time.sleep(1)  # what is refused meanwhile is sent again
        self.server.stop()
        self.server.start()

    def kill_worker(self, _: random.Random) -> None:
        with suppress(OSError, HTTPException):
            os.kill(int(self.server.get("/").headers["X-Worker"]), signal.SIGKILL)

    def kill_all(self, chance: random.Random) -> None:
        self.server.kill()
        time.sleep(chance.uniform(0, 2))  # how long the app is down
        self.server.start()

    def stop_all(self, _: random.Random) -> None:
        """Stop it while New Relic takes nothing."""
        with self.collector.failing("custom_event_data", 503):
            self.server.stop()
        self.server.start()

    def flood(self, chance: random.Random) -> None:
        """Somebody fills the agent's harvests, with a priority of their own choice."""
        headers = of_priority(chance.choice(["14", "1e9", "inf", "nan"]))
        for _ in range(20):
            with suppress(OSError, HTTPException):
                self.server.post(f"/noise/{FEW}", headers=headers)

    def _say(self, text: str) -> None:
        print(text, flush=True)

    def strike(self, minutes: float, seed: int) -> None:
        """Let one fault follow the other; each only when the replica is back."""
        chance = random.Random(seed)
        end = time.monotonic() + minutes * 60
        kinds = [self.freeze, self.kill, self.fail_over, self.cut, self.refuse, self.refuse]
        kinds += [self.disconnect, self.kill_worker, self.kill_all, self.stop_all, self.flood]
        while time.monotonic() < end:
            fault = chance.choice(kinds)
            print(f"{time.strftime('%X')} {fault.__name__}", flush=True)
            self.faults[fault.__name__] += 1
            fault(chance)
            self.sentinel.wait_replicated()
            time.sleep(
                min(chance.uniform(0, 5), max(0, end - time.monotonic()))
            )  # until the next fault

    # The result

    def lost(self) -> dict[Recorded, float]:
        """What was acknowledged, and has not arrived after all the time there is."""

        def missing() -> dict[Recorded, float]:
            arrived = set(self.collector.first)
            last: dict[str, int] = {}
            for _, feedback_id, revision, _ in arrived:
                last[feedback_id] = max(revision, last.get(feedback_id, 0))
            return {
                each: at
                for each, at in self.acknowledged.items()
                if each not in arrived and last.get(each[1], 0) <= each[2]  # none replaced it
            }

        with suppress(AssertionError):
            wait_until(lambda: not missing(), "the last events", timeout=120)
        return missing()

    def waits(self) -> list[float]:
        """Seconds from each 202 to the arrival of its event, in their order."""
        first = self.collector.first
        return sorted(first[each] - at for each, at in self.acknowledged.items() if each in first)


def as_recorded(event: Event) -> Recorded:
    return event["message_id"], event["feedback_id"], event["revision"], event["rating"]


def run(minutes: float, seed: int, directory: Path) -> int:
    (directory / "collector").mkdir()
    (directory / "gunicorn").mkdir()
    workers = {"workers": 2, "worker_class": "gthread", "threads": 8}
    with (
        Clock(directory / "collector", CONNECT) as collector,
        RedisSentinel(directory / "sentinel", append_only=True, down_after_ms=1000) as sentinel,
        Gunicorn(
            "noisy:app",
            directory / "gunicorn",
            env=collector.environ() | {"FLASK_FEEDBACK_STORE_URL": sentinel.url},
            **workers,
        ) as server,
    ):
        soak = Soak(server, sentinel, collector)
        with ThreadPoolExecutor(USERS) as pool:
            users = [pool.submit(User(soak, seed + number + 1).run) for number in range(USERS)]
            try:
                soak.strike(minutes, seed)
            finally:
                soak.over.set()
            for user in users:
                user.result()
        lost, waits = soak.lost(), soak.waits()
        events = collector.events()
        log = server.log.read_text().count("Feedback cannot be kept")

    print(f"\nSeed {seed}, {minutes:g} minutes\n\n| what | number |\n|---|---|")
    for what, number in [*sorted(soak.faults.items()), *sorted(soak.answers.items())]:
        print(f"| {what} | {number} |")
    copies = len(events) - len({as_recorded(event) for event in events})
    print(f"| answered 202 | {len(soak.acknowledged)} |")
    print(f"| events, of which copies | {len(events)}, {copies} |")
    p50, p99 = statistics.median(waits), waits[int(len(waits) * 0.99)]
    print(f"| seconds to arrival: p50, p99, most | {p50:.1f}, {p99:.1f}, {waits[-1]:.1f} |")
    print(f"| lines in the log of two workers | {log} |")
    print(f"| **lost** | **{len(lost)}** |")
    for (message_id, feedback_id, revision, rating), at in lost.items():
        answered = time.strftime("%X", time.localtime(at))
        print(f"LOST: {message_id} {feedback_id} revision {revision} {rating}, 202 at {answered}")
    return 1 if lost else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("minutes", type=float, nargs="?", default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"Seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        return run(options.minutes, options.seed, Path(directory))


if __name__ == "__main__":
    raise SystemExit(main())
