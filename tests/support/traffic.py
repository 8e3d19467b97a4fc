"""Users of a running app, whatever happens to it meanwhile, and what they were promised."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from chatting import at_once, chat, rate
from collector import Collector
from gunicorn_server import Gunicorn
from http_client import Response
from processes import wait_until

WORKERS = {"workers": 2, "worker_class": "gthread", "threads": 8}


class Traffic:
    """Users who chat, vote, and send again what was refused: at once, or when they are told to."""

    def __init__(self, server: Gunicorn, collector: Collector) -> None:
        self.server, self.collector = server, collector
        self.answers: Counter[tuple[str, int]] = Counter()
        self.accepted: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()

    def stash(self, number: int) -> str | None:
        answer = chat(self.server, prompt=f"hello {number}")
        assert answer.json["reply"] == f"hello {number}"
        message_id = answer.headers["X-Message-ID"]
        with self._lock:
            self.answers["message", 202 if message_id else 503] += 1
        return message_id

    def stash_until_kept(self, number: int) -> str:
        return str(wait_until(lambda: self.stash(number), "a stash"))

    def vote(self, message_id: str) -> Response:
        answer = rate(self.server, message_id)
        with self._lock:
            self.answers["vote", answer.status] += 1
            if answer.status in (200, 202):
                event = answer.json["feedback_id"], answer.json["revision"]
                assert self.accepted.setdefault(message_id, event) == event
        return answer

    def vote_until_taken(self, message_id: str, patient: bool) -> None:
        deadline = time.monotonic() + 60
        while (answer := self.vote(message_id)).status == 503:
            assert time.monotonic() < deadline, answer.text
            wait = float(answer.headers["Retry-After"]) if patient else 0.1
            time.sleep(wait)  # as a client does
        assert answer.status in (200, 202), answer.text

    @property
    def taken(self) -> int:
        return len(self.accepted)

    @property
    def refused(self) -> int:
        return self.answers["vote", 503]

    @contextmanager
    def going_on(self, users: int = 4) -> Iterator[None]:
        """Inside, so many users chat and vote as long as it takes."""

        def use(user: int) -> None:
            while not self._over.is_set():
                message_id = self.stash(user)
                while message_id and self.vote(message_id).status == 503:
                    if self._over.wait(0.1):
                        return
                self._over.wait(0.2)

        with ThreadPoolExecutor(users) as pool:
            users_at_it = [pool.submit(use, user) for user in range(users)]
            try:
                yield
            finally:
                self._over.set()
            for each in users_at_it:
                each.result()

    def assert_nothing_lost(self) -> None:
        """Each vote that was taken has arrived, as what its caller was told it is."""

        def missing() -> dict[str, tuple[str, int]]:
            found = {
                (event["message_id"], event["feedback_id"], event["revision"])
                for event in self.collector.events()
            }
            return {k: v for k, v in self.accepted.items() if (k, *v) not in found}

        with suppress(AssertionError):
            wait_until(lambda: not missing(), "the last votes")
        assert missing() == {}

    def _all_stashed(self) -> list[str | None]:
        message_ids = at_once(self.stash, range(20))
        return [] if None in message_ids else message_ids

    def assert_well(self) -> None:
        """Each worker makes messages that can be rated, takes votes, and confirms them."""
        message_ids = wait_until(self._all_stashed, "each worker to see that it is over")
        assert {self.vote(message_id).status for message_id in message_ids} == {202}
        path = "/feedback?message_id=" + "&message_id=".join(message_ids)
        wait_until(lambda: len(self.server.get(path).json["feedback"]) == 20, "confirmations")
