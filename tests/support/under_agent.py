"""Python programs under the New Relic agent that are not web servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from collector import Collector
from gunicorn_server import APPS
from processes import environment

#: Its module is the first that Python imports. Unlike newrelic-admin, it takes no process of its
#: own, and no look at every installed file for the versions of libraries.
BOOTSTRAP = Path(__file__).with_name("bootstrap")


def under_agent(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a Python program that finds the tests' apps and starts the agent."""
    path = os.pathsep.join(map(str, (BOOTSTRAP, APPS)))
    return environment({"PYTHONPATH": path} | dict(env))


def ended(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a Python program under the agent to its end."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=APPS,
        env=under_agent(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run(collector: Collector, command: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a Python program under the agent, which does not fail, and return what it prints."""
    done = ended(command, collector.environ() | dict(env))
    assert done.returncode == 0, done.stderr
    return done.stdout
