"""A stand-in for New Relic's collector: agents report to it, and tests ask it what arrived."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent_protocol import CONNECT, AgentServer, merged

Event = dict[str, Any]
Enough = int | Callable[[list[Event]], Any]

#: Settings that have no environment variable: no look-ups of cloud metadata services.
QUIET = {
    f"utilization.detect_{vendor}": False
    for vendor in ("aws", "azure", "azureappservice", "docker", "gcp", "kubernetes", "pcf")
} | {"package_reporting.enabled": False}


class Collector:
    """Keeps what agents send; says what a test tells it to say.

    `connect` is merged into the answer to an agent's `connect`: what New Relic's side decides.
    """

    def __init__(self, directory: Path, connect: Mapping[str, Any] | None = None) -> None:
        self._directory = directory
        self._connect = dict(connect or {})
        self._arrived = threading.Condition()
        self._events: dict[str, list[Event]] = defaultdict(list)
        self._metrics: dict[str, int] = defaultdict(int)
        self._faults: dict[str, list[int]] = defaultdict(list)
        self._runs = 0
        self._outdated = 0  # runs up to this number are told to restart
        self._gates: dict[str, threading.Event] = {}
        self._waiting: set[str] = set()  # methods

        self._ca_bundle = directory / "ca.pem"
        self._server = AgentServer(self.answer, self._ca_bundle)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    # What points an agent here

    def environ(self, settings: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Environment variables for a process whose agent reports here.

        `settings` go into its configuration file: `{"custom_insights_events.enabled": False}`.
        """
        lines = [f"{name} = {value}" for name, value in (QUIET | dict(settings or {})).items()]
        text = "\n".join(["[newrelic]", *lines, ""])
        config = self._directory / f"newrelic-{abs(hash(text)):x}.ini"
        config.write_text(text)
        return {
            "NEW_RELIC_APP_NAME": "tests",
            "NEW_RELIC_CA_BUNDLE_PATH": str(self._ca_bundle),
            "NEW_RELIC_CONFIG_FILE": str(config),
            "NEW_RELIC_HOST": "127.0.0.1",
            "NEW_RELIC_LICENSE_KEY": "0" * 40,
            "NEW_RELIC_LOG": "stderr",
            "NEW_RELIC_LOG_LEVEL": "critical",
            "NEW_RELIC_PORT": str(self._server.server_port),
        }

    # What arrived

    def events(self, event_type: str = "LlmFeedbackMessage", **having: Any) -> list[Event]:
        """The custom events of one type that have these attributes, in the order of arrival."""
        with self._arrived:
            return self._matching(event_type, having)

    def wait_for(
        self,
        enough: Enough = 1,
        event_type: str = "LlmFeedbackMessage",
        *,
        timeout: float = 60,
        **having: Any,
    ) -> list[Event]:
        """Wait for so many events of one type, or until a predicate over them holds."""

        def met() -> bool:
            found = self._matching(event_type, having)
            return bool(enough(found)) if callable(enough) else len(found) >= enough

        with self._arrived:
            if not self._arrived.wait_for(met, timeout):
                raise AssertionError(
                    f"waited {timeout} s for {enough} of {event_type} with {having}; "
                    f"arrived: {dict(self._events)}"
                )
            return self._matching(event_type, having)

    def metrics(self) -> dict[str, int]:
        """By metric name: how often it was called, for Custom/ its total.

        Agents send metrics once a minute and when they end.
        """
        with self._arrived:
            return dict(self._metrics)

    def clear(self) -> None:
        """Forget what arrived."""
        with self._arrived:
            self._events.clear()
            self._metrics.clear()

    # What goes wrong

    @contextmanager
    def held(self, method: str = "connect") -> Iterator[Callable[[], None]]:
        """Leave each request of a method unanswered until the end, or what this gives is called."""
        gate = self._gates[method] = threading.Event()
        try:
            yield gate.set
        finally:
            gate.set()

    def wait_held(self, method: str, timeout: float = 60) -> None:
        """Wait until a request is left unanswered."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: method in self._waiting, timeout)

    def fail(self, method: str, status: int = 0, times: int = 1) -> None:
        """Answer the next requests of a method with this status; 0 drops the connection."""
        with self._arrived:
            self._faults[method] += [status] * times

    @contextmanager
    def failing(self, method: str, status: int) -> Iterator[None]:
        """Inside, answer each request of a method with this status."""
        self.fail(method, status, times=10_000)
        try:
            yield
        finally:
            with self._arrived:
                self._faults[method].clear()

    def wait_failing(self, method: str, timeout: float = 60) -> None:
        """Wait until one more request of a method fails."""
        with self._arrived:
            left = len(self._faults[method])
            assert self._arrived.wait_for(lambda: len(self._faults[method]) < left, timeout)

    def wait_failed(self, method: str, timeout: float = 60) -> None:
        """Wait until the faults of a method have all happened."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: not self._faults[method], timeout)

    def restart_agents(self, connect: Mapping[str, Any] | None = None) -> None:
        """Order every connected agent to connect anew, to be given these settings."""
        with self._arrived:
            self._connect = dict(connect or {})
            self._outdated = self._runs

    @property
    def runs(self) -> int:
        """How many times an agent connected."""
        with self._arrived:
            return self._runs

    def wait_connected(self, runs: int, timeout: float = 60) -> None:
        """Wait until agents connected so many times in all."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._runs >= runs, timeout):
                raise AssertionError(f"{self._runs} agent runs after {timeout} s, not {runs}")

    # The protocol, called by the handler's threads

    def answer(self, method: str, run: str, payload: Any) -> tuple[int, Any]:
        """Status and return value; status 0 drops the connection."""
        if (gate := self._gates.get(method)) and not gate.is_set():
            with self._arrived:
                self._waiting.add(method)
                self._arrived.notify_all()
            gate.wait()
        with self._arrived:
            self._waiting.discard(method)
            if self._faults[method]:
                self._arrived.notify_all()
                return self._faults[method].pop(0), None
            if run and int(run) <= self._outdated and method != "shutdown":
                return 409, None
            result = self._keep(method, payload)
            self._arrived.notify_all()
            return 200, result

    def _keep(self, method: str, payload: Any) -> Any:
        match method:
            case "preconnect":
                return {"redirect_host": "127.0.0.1"}
            case "connect":
                self._runs += 1
                return merged(CONNECT, self._connect | {"agent_run_id": str(self._runs)})
            case "custom_event_data":
                self.receive([attributes | intrinsics for intrinsics, attributes in payload[2]])
            case "metric_data":
                for metric, (count, total, *_) in payload[3]:
                    # Of the app's own metrics it is their values that are added up.
                    of_app = metric["name"].startswith("Custom/")
                    self._metrics[metric["name"]] += total if of_app else count
        return None if method.endswith("_data") else []

    def receive(self, events: list[Event]) -> None:
        """Keep the custom events of one request, which has been accepted."""
        for event in events:
            self._events[event["type"]].append(event)

    def _matching(self, event_type: str, having: Mapping[str, Any]) -> list[Event]:
        return [
            event
            for event in self._events.get(event_type, ())
            if all(event.get(name) == value for name, value in having.items())
        ]
