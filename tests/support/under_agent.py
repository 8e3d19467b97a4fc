"""Programs under the New Relic agent that are no servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from collector import Collector
from gunicorn_server import APPS
from processes import environment


def run(collector: Collector, command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a Python program under the agent, and return what it prints."""
    agent = [sys.executable, "-m", "newrelic.admin", "run-program", sys.executable]
    done = subprocess.run(
        [*agent, *command],
        cwd=APPS,
        env=environment(collector.environ() | {"PYTHONPATH": str(APPS)} | dict(env)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
