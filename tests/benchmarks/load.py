"""A load generator that costs little: one thread, raw sockets, a few requests always waiting.

Reads lines of JSON from stdin: `{"port": 1, "path": "/chat", "bodies": [...]}`; answers each with
a line: the seconds it took, and the bodies of the answers.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import deque

WAITING = 8
"""Requests under way: the worker finds the next one in its backlog, and never waits for us."""


def send(port: int, path: str, body: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()
    )
    return connection


def receive(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    connection.close()
    return answer


def run(port: int, path: str, bodies: list[str]) -> tuple[float, list[bytes]]:
    under_way: deque[socket.socket] = deque()
    answers = []
    start = time.perf_counter()
    for body in bodies:
        under_way.append(send(port, path, body))
        if len(under_way) == WAITING:
            answers.append(receive(under_way.popleft()))
    answers += [receive(connection) for connection in under_way]
    return time.perf_counter() - start, answers


def body_of(answer: bytes) -> object:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.split(b" ", 2)[1].startswith(b"20"):
        raise SystemExit(f"refused: {answer!r}")
    return json.loads(body)


def main() -> None:
    for line in sys.stdin:
        took, answers = run(**json.loads(line))
        print(json.dumps([took, [body_of(answer) for answer in answers]]), flush=True)


if __name__ == "__main__":
    main()
