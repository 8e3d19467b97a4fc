"""The chat of openai_chat.py, with answers that other threads and other processes make."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from typing import Any

import newrelic.agent

newrelic.agent.initialize()  # a spawned process begins here

from celery import Celery  # noqa: E402  # after the agent
from flask import request  # noqa: E402  # after the agent
from flask.typing import ResponseReturnValue  # noqa: E402  # after the agent
from openai_chat import MODEL, app, feedback, llm  # noqa: E402  # after the agent
from redis import Redis  # noqa: E402  # after the agent
from rq import Queue  # noqa: E402  # after the agent

from feedback_blueprint.messages.capture import Capture  # noqa: E402  # after the agent

FOLDER = os.environ.get("FLASK_CELERY_FOLDER", "")
celery = Celery(
    broker="filesystem://",
    broker_transport_options={
        "control_folder": f"{FOLDER}/control",
        "data_folder_in": f"{FOLDER}/data",
        "data_folder_out": f"{FOLDER}/data",
    },
    accept_content=["pickle"],
    task_serializer="pickle",
)


def work(captured: Capture, prompt: str) -> None:
    """Make an answer, whose ID is its prompt."""
    with captured.transaction("answer"):
        llm.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": prompt}])
        captured.stash(prompt)


def elsewhere(captured: Capture, prompt: str) -> None:
    with app.app_context():
        work(captured, prompt)


def job(captured: Capture, prompt: str) -> None:
    """Run in RQ's worker, which ends the process of a job before the agent sends."""
    elsewhere(captured, prompt)
    newrelic.agent.shutdown_agent(timeout=10)


task = celery.task(elsewhere)


@cache
def executor(kind: str) -> Executor:
    if kind == "pool":
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(1, multiprocessing.get_context(kind))


@app.post("/<kind>")
def make(kind: str) -> ResponseReturnValue:
    captured = feedback.capture()
    arguments: Any = captured, request.get_json()["prompt"]
    match kind:
        case "pool":
            executor(kind).submit(work, *arguments).result()
        case "celery":
            task.delay(*arguments)
        case "rq":
            with Redis.from_url(app.config["FEEDBACK_STORE_URL"]) as connection:
                Queue(connection=connection).enqueue("workers.job", *arguments)
        case _:
            executor(kind).submit(elsewhere, *arguments).result()
    return {}
