"""Bytes that a process keeps for each vote until it is delivered; started by memory.py."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from uuid import uuid4


def main() -> None:
    import benchmarked
    import newrelic.agent

    newrelic.agent.register_application(timeout=20)
    client = getattr(benchmarked, sys.argv[1]).test_client()

    def vote(message_id: str) -> None:
        body = {
            "message_id": message_id,
            "rating": "good",
            "category": "informative",
            "message": f"Just what I needed, says {uuid4().hex[:8]}",
        }
        assert client.post("/feedback", json=body).status_code == 202

    batches, votes = map(int, sys.argv[2:])
    for number in range(batches + 1):
        ids = [client.post("/chat", json={"prompt": "hi"}).json["message_id"] for _ in range(votes)]
        gc.collect()
        if not number:
            tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for message_id in ids:
            vote(message_id)
        gc.collect()
        if number:  # the first is to warm up
            print((tracemalloc.get_traced_memory()[0] - before) / votes)


if __name__ == "__main__":
    main()
