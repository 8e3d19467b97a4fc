"""A load generator that costs little: one thread, raw sockets, some requests always under way.

Reads lines of JSON from stdin: `{"port": 1, "path": "/chat", "bodies": [...], "clients": 8}`;
answers each with a line: the seconds it took, those of each request, and the bodies of the answers,
null for one that refuses.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from selectors import EVENT_READ, DefaultSelector


def send(port: int, path: str, body: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    return connection


class Run:
    """Requests on a connection each, so many at once."""

    def __init__(self, port: int, path: str, bodies: list[str], clients: int) -> None:
        self._bodies: Iterator[tuple[int, str]] = iter(enumerate(bodies))
        self._to, self._clients = (port, path), clients
        self._selector = DefaultSelector()
        self.took = [0.0] * len(bodies)
        self.answers = [b""] * len(bodies)

    def __call__(self) -> float:
        """Send all; the seconds until the last answer."""
        start = time.perf_counter()
        with self._selector:
            for _ in range(self._clients):
                self._next()
            while self._selector.get_map():
                ready = self._selector.select(60)
                if not ready:
                    raise SystemExit("no answer in a minute")
                for key, _ in ready:
                    self._read(key.fileobj, *key.data)
        return time.perf_counter() - start

    def _next(self) -> None:
        for number, body in self._bodies:
            began = time.perf_counter()
            connection = send(*self._to, body)
            self._selector.register(connection, EVENT_READ, (number, began))
            return

    def _read(self, connection: socket.socket, number: int, began: float) -> None:
        if piece := connection.recv(65536):
            self.answers[number] += piece
            return
        self.took[number] = time.perf_counter() - began
        self._selector.unregister(connection)
        connection.close()
        self._next()


def body_of(answer: bytes) -> object:
    head, _, body = answer.partition(b"\r\n\r\n")
    return json.loads(body) if head[9:].startswith(b"20") else None


def main() -> None:
    for line in sys.stdin:
        run = Run(**json.loads(line))
        seconds = run()
        answers = [body_of(answer) for answer in run.answers]
        print(json.dumps([seconds, run.took, answers]), flush=True)


if __name__ == "__main__":
    main()
