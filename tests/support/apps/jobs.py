"""Votes cast by other processes than a server's: a forked child, and a job of RQ's."""

from __future__ import annotations

import multiprocessing
import sys

import newrelic.agent
from chat import app, feedback

from feedback_blueprint import Refusal


def vote(message_id: str) -> str:
    """Vote, and say what became of it."""
    newrelic.agent.register_application(timeout=20)
    with app.app_context():
        try:
            return feedback.submit(message_id, "good").status
        except Refusal as refusal:
            return f"{refusal.code}: {refusal}"


def child(message_id: str) -> None:
    print(vote(message_id), flush=True)


def main() -> None:
    newrelic.agent.register_application(timeout=20)
    process = multiprocessing.get_context("fork").Process(target=child, args=sys.argv[1:])
    process.start()
    process.join()


if __name__ == "__main__":
    main()
