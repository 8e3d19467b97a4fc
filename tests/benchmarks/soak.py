"""Mixed traffic for minutes on end, with faults at random: is anything lost that was answered 202?

    python tests/benchmarks/soak.py [MINUTES] [--seed SEED]

Two workers on a Sentinel trio. What is lost is named, and the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import redis
from collector import Collector, Event
from gunicorn_server import Gunicorn
from http_client import Response
from processes import wait_until
from redis_sentinel import RedisSentinel

USERS = 8
PATIENCE = 30  # seconds that a user tries to have a vote taken
Recorded = tuple[str, str, int, Any]


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

    def until_taken(self, cast: Callable[[], Response]) -> None:
        """Send it again where it is refused: half of the time at once, else when told to."""
        deadline = time.monotonic() + PATIENCE
        while (answer := cast()).status == 503 and time.monotonic() < deadline:
            patient = self.chance.random() < 0.5
            self.soak.over.wait(float(answer.headers["Retry-After"]) if patient else 0.02)


class Soak:
    def __init__(self, server: Gunicorn, sentinel: RedisSentinel, collector: Collector) -> None:
        self.server, self.sentinel, self.collector = server, sentinel, collector
        self.over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.acknowledged: dict[Recorded, float] = {}
        self._lock = threading.Lock()

    def chat(self) -> str | None:
        answer = self.server.post("/plain", {"prompt": "hello"})
        if answer.status != 200 or answer.json["reply"] != "hello":
            raise AssertionError(f"the chat was touched: {answer.status} {answer.text}")
        message_id = answer.headers["X-Message-ID"]
        self._count("message, rateable" if message_id else "message, not rateable")
        return message_id

    def vote(self, message_id: str, rating: str, **vote: str) -> Response:
        vote |= {"message_id": message_id, "rating": rating}
        return self._told("vote", self.server.post("/feedback", vote), rating)

    def retract(self, message_id: str) -> Response:
        answer = self.server.request("DELETE", f"/feedback?message_id={message_id}")
        return self._told("retraction", answer, "retracted")

    def read(self, message_id: str) -> None:
        self._told("reading", self.server.get(f"/feedback?message_id={message_id}"), None)

    def _told(self, what: str, answer: Response, rating: str | None) -> Response:
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

    def drop_agent(self, chance: random.Random) -> None:
        self.collector.fail("custom_event_data", 0, times=chance.randint(1, 10))
        self.collector.wait_failed("custom_event_data", timeout=60)

    def strike(self, minutes: float, seed: int) -> None:
        """Let one fault follow the other; each only when the replica is back."""
        chance = random.Random(seed)
        end = time.monotonic() + minutes * 60
        kinds = [self.freeze, self.kill, self.fail_over, self.cut, self.drop_agent]
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
            arrived = {as_recorded(event) for event in self.collector.events()}
            return {each: at for each, at in self.acknowledged.items() if each not in arrived}

        with suppress(AssertionError):
            wait_until(lambda: not missing(), "the last events", timeout=30)
        return missing()


def as_recorded(event: Event) -> Recorded:
    return event["message_id"], event["feedback_id"], event["revision"], event["rating"]


def run(minutes: float, seed: int, directory: Path) -> int:
    (directory / "collector").mkdir()
    (directory / "gunicorn").mkdir()
    workers = {"workers": 2, "worker_class": "gthread", "threads": 8}
    with (
        Collector(directory / "collector") as collector,
        RedisSentinel(directory / "sentinel", append_only=True, down_after_ms=1000) as sentinel,
        Gunicorn(
            "chat:app",
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
        lost = soak.lost()
        events = collector.events()
        log = server.log.read_text().count("Feedback cannot be kept")

    print(f"\nSeed {seed}, {minutes:g} minutes\n\n| what | number |\n|---|---|")
    for what, number in [*sorted(soak.faults.items()), *sorted(soak.answers.items())]:
        print(f"| {what} | {number} |")
    copies = len(events) - len({as_recorded(event) for event in events})
    print(f"| answered 202 | {len(soak.acknowledged)} |")
    print(f"| events, of which copies | {len(events)}, {copies} |")
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
