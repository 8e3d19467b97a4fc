"""A small HTTP client for servers on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any


@dataclass(frozen=True)
class Response:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """One connection a request, so that any worker may answer."""

    port: int

    def request(
        self,
        method: str,
        path: str,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send `data` as JSON, or as it is if it is `bytes`, in chunks if it iterates."""
        ready = data is None or isinstance(data, (bytes, Iterator))
        body = data if ready else json.dumps(data).encode()
        sent = {"Content-Type": "application/json"} if body else {}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, sent | dict(headers or {}))
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())

    def get(self, path: str, **options: Any) -> Response:
        return self.request("GET", path, **options)

    def post(self, path: str, data: Any = None, **options: Any) -> Response:
        return self.request("POST", path, data, **options)
