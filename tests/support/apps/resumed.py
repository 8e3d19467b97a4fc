"""Say by case whether work for a captured trace is in it. Arguments: names of the cases."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import newrelic.agent
from flask import Flask

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.messages.capture import Capture

feedback = FeedbackBlueprint()
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="WARNING")


def make_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.register_blueprint(feedback)
    return app


@newrelic.agent.background_task(name="request")
def captured_in_a_transaction() -> tuple[Capture, str | None]:
    return feedback.capture(), newrelic.agent.current_trace_id()


def work(captured: Capture, trace_id: str | None, name: str) -> None:
    with captured.transaction(name):
        here = newrelic.agent.current_trace_id()
        print("in the trace" if here and here == trace_id else "not in it")


def plain() -> None:
    work(*captured_in_a_transaction(), "plain")


def blind() -> None:
    work(feedback.capture(), None, "blind")


def running() -> None:
    task = newrelic.agent.background_task(name="running")(work)
    task(*captured_in_a_transaction(), "not opened")


def of_another_trace() -> None:
    @newrelic.agent.background_task(name="running")
    def another(captured: Capture, trace_id: str | None) -> None:
        newrelic.agent.insert_distributed_trace_headers([])
        work(captured, trace_id, "of_another_trace")

    another(*captured_in_a_transaction())


def ignored() -> None:
    @newrelic.agent.background_task(name="running")
    def another(captured: Capture, trace_id: str | None) -> None:
        newrelic.agent.ignore_transaction()
        work(captured, trace_id, "ignored")

    another(*captured_in_a_transaction())


def untraced() -> None:
    newrelic.agent.application().settings.distributed_tracing.enabled = False
    work(*captured_in_a_transaction(), "untraced")


def failing() -> None:
    captured, _ = captured_in_a_transaction()
    try:
        with captured.transaction("failing"):
            raise StopIteration("of the work")
    except StopIteration as error:
        print(error)


def decorated() -> None:
    captured, trace_id = captured_in_a_transaction()
    together = Barrier(2)

    def in_the_trace() -> bool:
        return newrelic.agent.current_trace_id() == trace_id

    @captured.transaction("decorated")
    def half() -> list[bool]:
        together.wait(10)
        with captured.transaction("decorated"):
            seen = [in_the_trace()]
        together.wait(10)
        return [*seen, in_the_trace()]

    def all_of_it(_: int) -> list[bool]:
        return [*half(), newrelic.agent.current_trace_id() is None]

    with ThreadPoolExecutor(2) as pool:
        print(*pool.map(all_of_it, range(2)))


def closed_elsewhere() -> None:
    captured, trace_id = captured_in_a_transaction()

    def stream() -> Iterator[str]:
        with captured.transaction("closed elsewhere"):
            yield "in the trace" if newrelic.agent.current_trace_id() == trace_id else "not in it"

    items = stream()
    print(next(items))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(items.close).result()
    del items
    print(newrelic.agent.current_trace_id())


if __name__ == "__main__":
    newrelic.agent.register_application(timeout=20)
    for case in sys.argv[1:]:
        print(f"# {case}")
        with make_app().app_context():  # whose log has said nothing yet
            globals()[case]()
