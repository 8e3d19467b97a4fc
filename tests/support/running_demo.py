"""The demo, started as its user does."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from http_client import Client, Response
from processes import Group, environment, free_port, tail, wait_until

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "feedback_blueprint.demo"]
PROMPT = {"messages": [{"role": "user", "content": "What is a trace ID good for?"}]}


class Demo(Client):
    """A running demo."""

    process: Group
    log: Path

    def reply(self) -> Response:
        answer = self.post("/chat", PROMPT)
        assert answer.status == 200, answer.text
        return answer

    def interrupt(self) -> None:
        """Press Ctrl+C, and wait until the agent has sent what it has; no process stays."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(timeout=20) == 0, tail(self.log)
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)


@contextmanager
def demo(
    directory: Path,
    env: Mapping[str, str],
    command: Sequence[str] = COMMAND,
    checkout: Path = ROOT,
    timeout: float = 60,
) -> Iterator[Demo]:
    """Start it in a home directory of its own, where its store goes."""
    running = Demo(free_port())
    running.log = directory / "demo.log"
    with running.log.open("wb") as output:
        running.process = Group(
            command,
            cwd=checkout,
            env=environment({"HOME": str(directory), "PORT": str(running.port), **env}),
            stdout=output,
            stderr=output,
            # A shell's background job ignores Ctrl+C, and so would all that it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_until(lambda: answers(running), "the demo to answer", timeout)
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, signal.SIGTERM)
        running.process.wait()
        running.process.end()


def answers(running: Demo) -> bool:
    assert running.process.poll() is None, tail(running.log)
    try:
        return running.get("/").status == 200
    except ConnectionError:
        return False
