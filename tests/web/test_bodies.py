"""Bodies of every length: no more is read than a vote may have, and none is taken in part."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path

import pytest
from flask import Flask, Request, request
from gunicorn_server import APPS
from http_client import Client
from problems import assert_refused
from processes import Group, Server, environment, free_port, tail, wait_until

LIMIT = 64 * 1024

MB = 2**20

#: Each reads bodies in its own way. All workers of gunicorn read them in the same way.
COMMANDS = {
    "gunicorn": ["-m", "gunicorn", "computed:app", "--bind=127.0.0.1:{port}"],
    "waitress": ["-m", "waitress", "--listen=127.0.0.1:{port}", "computed:app"],
    "granian": ["-m", "granian", "--interface=wsgi", "--port={port}", "computed:app"],
    "flask run": ["-m", "flask", "--app=computed", "run", "--port={port}"],
}

#: An app that would have all of a body read: its own requests may be of any length.
COMPUTED = """
from chat import app
from flask import Request

class Unlimited(Request):
    max_content_length = property(lambda _: None)

app.request_class = Unlimited
"""


class Plain(Server, Client):
    """A server without an agent."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(port=free_port())
        (directory / "computed.py").write_text(COMPUTED)
        self._command = [sys.executable, *(part.format(port=self.port) for part in COMMANDS[name])]
        self._directory = directory
        paths = f"{directory}{os.pathsep}{APPS}"
        store = {"FLASK_FEEDBACK_STORE_URL": f"sqlite:///{directory}/feedback.db"}
        self._env = environment({"PYTHONPATH": paths} | store)
        self._env.pop("COVERAGE_PROCESS_CONFIG", None)  # it is killed, and could not tell
        self._process: Group | None = None

    def start(self) -> None:
        log = self._directory / "server.log"
        with log.open("wb") as output:
            self._process = Group(
                self._command, cwd=self._directory, env=self._env, stdout=output, stderr=output
            )
        try:
            wait_until(self._answers, "an answer")
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{tail(log)}") from None

    def _answers(self) -> bool:
        with suppress(OSError):
            return self.get("/").status == 200
        return False

    def kill(self) -> None:
        process, self._process = self._process, None
        if process:
            process.end()

    def talk(self, parts: Iterable[bytes], *, ends: bool = False) -> bytes:
        """Send bytes for as long as they are taken, and return the answer's first, if any comes."""
        with closing(socket.create_connection(("127.0.0.1", self.port), 60)) as connection:
            with suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
            if ends:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            answer = b""
            with suppress(ConnectionError):
                while b'"code": "' not in answer and (piece := connection.recv(65536)):
                    answer += piece
        return answer

    def peak(self) -> int:
        """The most bytes of memory that its processes have had."""
        assert self._process
        peaks = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended meanwhile
                if os.getpgid(int(process.name)) == self._process.pid:
                    status = (process / "status").read_text()
                    peak, *_ = status.partition("VmHWM:")[2].split() or ["0"]  # of a zombie
                    peaks += int(peak) * 1024
        return peaks


@pytest.fixture(scope="module", params=COMMANDS)
def server(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Plain]:
    with Plain(request.param, tmp_path_factory.mktemp("server")) as running:
        yield running


HEAD = b"POST /feedback HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def in_chunks(*chunks: bytes) -> Iterator[bytes]:
    yield CHUNKED
    for chunk in [*chunks, b""]:
        yield b"%x\r\n%s\r\n" % (len(chunk), chunk)


def announced(length: int, body: bytes) -> Iterator[bytes]:
    yield HEAD + b"Content-Length: %d\r\n\r\n%s" % (length, body)


def code(answer: bytes) -> tuple[int, str]:
    status = int(answer.split(b" ", 2)[1])
    return status, answer.partition(b'"code": "')[2].partition(b'"')[0].decode()


def test_a_body_may_be_as_long_as_the_limit_however_it_is_sent(server):
    fits, too_long = b"{}".ljust(LIMIT), b"{}".ljust(LIMIT + 1)
    assert code(server.talk(in_chunks(fits))) == (422, "invalid")
    assert code(server.talk(in_chunks(b"{}", b" " * (LIMIT - 2)))) == (422, "invalid")
    assert code(server.talk(announced(LIMIT, fits))) == (422, "invalid")
    assert code(server.talk(in_chunks(too_long))) == (413, "too-large")
    assert code(server.talk(in_chunks(fits, b" "))) == (413, "too-large")
    assert code(server.talk(announced(LIMIT + 1, too_long))) == (413, "too-large")


def test_a_body_that_is_not_as_long_as_its_client_says_is_not_taken(server):
    """Some servers answer nothing, and close the connection."""
    answer = server.talk(announced(99, b"{}"), ends=True)
    assert not answer or code(answer) == (400, "malformed-json")
    assert code(server.talk(announced(1, b"{}"))) == (400, "malformed-json")


@pytest.mark.parametrize(
    "raw", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}{}0\r\n\r\n", b"2\r\n{}\r\n0\r\nno header\r\n\r\n"]
)
@pytest.mark.parametrize("server", ["gunicorn"], indirect=True)
def test_chunks_that_are_none_are_refused(server, raw):
    """Other servers refuse them themselves, or are content with some of them."""
    assert code(server.talk([CHUNKED, raw])) == (400, "malformed-json")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
def test_no_memory_is_spent_on_a_body_without_end(server):
    assert code(server.talk(in_chunks(b"{}".ljust(LIMIT)))) == (422, "invalid")
    before = server.peak()
    assert code(server.talk(in_chunks(b"{}", *[b" " * LIMIT] * 1600))) == (413, "too-large")
    assert server.peak() - before < 50 * MB
    assert code(server.talk(in_chunks(b"{}"))) == (422, "invalid"), "it serves others after that"


# In process: what the app's own limit and hooks do to it


def test_a_body_over_64_kib_is_refused(post, client):
    """It is not even read."""
    assert_refused(post(" " * 65536), 400, "malformed-json")
    body = BytesIO(b" " * 65537)
    response = client.post(
        "/feedback", input_stream=body, content_length=65537, content_type="application/json"
    )
    assert_refused(response, 413, "too-large")
    assert body.tell() == 0


def test_a_body_over_the_limit_is_refused_if_the_app_read_it_first(app, client):
    app.before_request(lambda: request.get_data() and None)
    response = client.post("/feedback", data=" " * 65537, content_type="application/json")
    assert_refused(response, 413, "too-large")


@pytest.mark.parametrize("limit", [0, 100])
def test_a_body_over_a_smaller_limit_of_the_app_is_refused(app, post, limit):
    app.config["MAX_CONTENT_LENGTH"] = limit
    assert_refused(post(" " * (limit + 1)), 413, "too-large")


def test_a_body_that_ends_early_is_refused(client):
    response = client.post(
        "/feedback",
        data="{}",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": "3"},
    )
    assert_refused(response, 400, "malformed-json")
    assert response.json["detail"] == "The body cannot be read."


def post_in_chunks(app: Flask, body: bytes | BytesIO, **environ: object):
    return app.test_client().post(
        "/feedback",
        input_stream=BytesIO(body) if isinstance(body, bytes) else body,
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True} | environ,
        **({} if "CONTENT_LENGTH" in environ else {"headers": {"Transfer-Encoding": "chunked"}}),
    )


def limited(most: int | None) -> type[Request]:
    return type("Limited", (Request,), {"max_content_length": property(lambda _: most)})


def read_it() -> None:
    request.get_data()


def read_json() -> None:
    request.get_json(silent=True)


def parse_form() -> None:
    assert not request.form


@pytest.mark.parametrize("own", [None, 9, LIMIT - 1, LIMIT + 1])
@pytest.mark.parametrize("hook", [None, read_it, read_json, parse_form])
@pytest.mark.parametrize("is_computed", [False, True])
def test_the_smaller_limit_holds_whoever_reads_first(app, own, hook, is_computed):
    if is_computed:
        app.request_class = limited(own)
    else:
        app.config["MAX_CONTENT_LENGTH"] = own
    if hook:
        app.before_request(hook)
    limit = min(own or LIMIT, LIMIT)
    assert_refused(post_in_chunks(app, b"{}".ljust(limit)), 422, "invalid")
    for more in 1, 2, 6 * MB:
        answer = post_in_chunks(app, b"{}".ljust(limit + more))
        assert answer.status_code == 413, answer.text
        if answer.json:  # werkzeug refuses what the app's own hook would read
            assert_refused(answer, 413, "too-large")


@pytest.mark.parametrize("own", [None, 100, 5 * MB])
@pytest.mark.parametrize("length", [None, "2", "100"])
def test_one_byte_more_than_the_limit_is_read_at_most(app, own, length):
    app.request_class = limited(own)
    limit, body = min(own or LIMIT, LIMIT), BytesIO(b"{}".ljust(10 * MB))
    answer = post_in_chunks(app, body, **({"CONTENT_LENGTH": length} if length else {}))
    assert_refused(answer, 413, "too-large")
    assert body.tell() == limit + 1


def test_a_body_that_the_app_has_read_and_not_kept_is_refused(app):
    app.before_request(lambda: request.get_data(cache=False) and None)
    for answer in (
        post_in_chunks(app, b"{}"),
        post_in_chunks(app, b"{}", CONTENT_LENGTH="2"),
        app.test_client().post("/feedback", json={}),
    ):
        assert_refused(answer, 400, "malformed-json")


def test_a_body_whose_end_the_server_does_not_know_is_not_read(app):
    """As uWSGI has a body in chunks: werkzeug would wait for the client to go."""
    body = BytesIO(b"{}")
    answer = app.test_client().post(
        "/feedback",
        input_stream=body,
        content_type="application/json",
        headers={"Transfer-Encoding": "chunked"},
    )
    assert_refused(answer, 400, "malformed-json")
    assert body.tell() == 0


def test_a_body_that_ends_before_its_length_is_refused_whatever_the_server_says_of_it(app):
    answer = post_in_chunks(app, b"{}", CONTENT_LENGTH="3")
    assert_refused(answer, 400, "malformed-json")
    assert_refused(post_in_chunks(app, b"{}", CONTENT_LENGTH="2"), 422, "invalid")
