"""p50 and p99 of a decorated call and of a raw Redis call, with threads; started by compare.py."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import newrelic.agent
import redis
from flask import Flask

from feedback_blueprint import FeedbackBlueprint

THREADS = 8
WEEK = 7 * 24 * 3600

feedback = FeedbackBlueprint()
app = Flask("latency")
app.config["FEEDBACK_STORE_URL"] = os.environ["BENCHMARK_REDIS_URL"]
app.register_blueprint(feedback)
client = redis.Redis.from_url(os.environ["BENCHMARK_REDIS_URL"])


@feedback.trace_message
def decorated(*, message_id: str = "") -> str:
    return message_id


def raw() -> None:
    client.set(f"feedback:{uuid4().hex}", newrelic.agent.current_trace_id(), ex=WEEK)


def timed(call: Callable[[], object], calls: int) -> list[float]:
    """Time each of the calls, in a transaction and a request as they would be."""
    agent, took = newrelic.agent.application(), []
    for _ in range(calls):
        with newrelic.agent.BackgroundTask(agent, "call"), app.test_request_context():
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
    return took


def measure(call: Callable[[], object], calls: int) -> tuple[float, float]:
    with ThreadPoolExecutor(THREADS) as pool:
        batches = pool.map(lambda _: timed(call, calls), range(THREADS))
        percentiles = statistics.quantiles([took for batch in batches for took in batch], n=100)
    return percentiles[49], percentiles[98]


def main() -> None:
    rounds, calls = int(sys.argv[1]), int(sys.argv[2])
    newrelic.agent.register_application(timeout=20)
    for call in (raw, decorated):
        measure(call, 20)
    results = [(measure(raw, calls), measure(decorated, calls)) for _ in range(rounds)]
    print(json.dumps(results))


if __name__ == "__main__":
    main()
