"""The wire protocol of New Relic's agents, over HTTPS on loopback."""

from __future__ import annotations

import json
import ssl
import zlib
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

#: What the collector answers to `connect`, see `RESPONSES` in newrelic/common/agent_http.py.
CONNECT: dict[str, Any] = {
    "account_id": "12345",
    "apdex_t": 0.5,
    "application_id": "1",
    "collect_custom_events": True,
    "collect_error_events": True,
    "collect_errors": True,
    "collect_span_events": True,
    "collect_traces": True,
    "data_report_period": 60,
    "encoding_key": "1" * 40,
    "entity_guid": "ENTITY",
    "product_level": 50,
    "sampling_rate": 0,
    "agent_limits.data_collector_timeout": 1,  # so a lease of a vote ends within seconds
    "trusted_account_ids": [12345],
    "trusted_account_key": "12345",
    "url_rules": [],
    "event_harvest_config": {
        "report_period_ms": 100,
        "harvest_limits": {
            "analytic_event_data": 1200,
            "custom_event_data": 3600,
            "error_event_data": 100,
            "span_event_data": 2000,
        },
    },
}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on top, level by level."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(old, value)
        result[key] = value
    return result


#: Takes a method, an agent run and a payload; gives status and return value.
Answer = Callable[[str, str, Any], tuple[int, Any]]


class AgentServer(ThreadingHTTPServer):
    """Reads what agents send, and sends what `answer` gives; status 0 drops the connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer, ca_bundle: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(ca_bundle))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An agent that was killed in the middle of a request is not news."""


class _Handler(BaseHTTPRequestHandler):
    server: AgentServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") in {"gzip", "deflate"}:
            body = zlib.decompress(body, zlib.MAX_WBITS | 32)
        method, run = query["method"][0], query.get("run_id", [""])[0]
        status, value = self.server.answer(method, run, json.loads(body))
        if not status:
            self.close_connection = True
            return
        answer = json.dumps({"return_value": value}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: Any) -> None:
        pass
