"""A network of the tests' own: a proxy that can be slow, or lose packets, answers, connections."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType


class Proxy:
    """Hands what comes to `port`, or a socket at `path`, on to `target`, a port of this machine."""

    def __init__(self, target: int, path: Path | None = None) -> None:
        self.target = target
        self.path = path
        self.port = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._mute = False
        self._delay = self._drip = 0.0
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listening: socket.socket | None = None
        self._listen()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()
        self._flowing.set()
        self.cut()

    def cut(self) -> None:
        """Reset every connection, whatever is under way on it."""
        for pair in list(self._pairs):
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def dropping(self) -> Iterator[None]:
        """Lose every packet: nothing is handed on, and nobody can connect or is refused."""
        self._close()
        self._flowing.clear()
        # The kernel drops who comes to a full queue, and says nothing
        with closing(socket.create_server(("127.0.0.1", self.port), backlog=0)) as full:
            waiting = []
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                waiting.append(filler)
            try:
                yield
            finally:
                for filler in waiting:
                    filler.close()
        self._flowing.set()
        self._listen()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Reset all connections and refuse new ones."""
        self._close()
        self.cut()
        try:
            yield
        finally:
            self._listen()

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        """Hand on what is asked, and lose what is answered: what a cut in mid-call looks like."""
        self._mute = True
        try:
            yield
        finally:
            self._mute = False
            self.cut()

    @contextmanager
    def slow(self, *, delay: float = 0.0, drip: float = 0.0) -> Iterator[None]:
        """Hand on each piece `delay` seconds late, or answers a byte each `drip` seconds."""
        self._delay, self._drip = delay, drip
        try:
            yield
        finally:
            self._delay = self._drip = 0.0
            self.cut()

    @contextmanager
    def to(self, target: int) -> Iterator[None]:
        """Lead to another server for a while."""
        before, self.target = self.target, target
        self.cut()
        try:
            yield
        finally:
            self.target = before
            self.cut()

    def _listen(self) -> None:
        if self.path:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(self.path))
            listening.listen()
        else:
            listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
            self.port = listening.getsockname()[1]
        self._listening = listening
        threading.Thread(target=self._accept, args=[listening], daemon=True).start()

    def _close(self) -> None:
        if self._listening:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
            self._listening.close()
            self._listening = None

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                for end in (far,) if self.path else (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pair = near, far
                self._pairs.add(pair)
                for answers in (False, True):
                    threading.Thread(target=self._pump, args=[pair, answers], daemon=True).start()

    def _pump(self, pair: tuple[socket.socket, socket.socket], answers: bool) -> None:
        source, sink = reversed(pair) if answers else pair
        with suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                time.sleep(self._delay)  # the slow network that it plays
                if answers and self._drip:
                    for byte in data:
                        sink.sendall(bytes([byte]))
                        time.sleep(self._drip)  # as above
                elif not (answers and self._mute):
                    sink.sendall(data)
        self._pairs.discard(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
