"""Type-checked and never run: what an app calls besides the decorator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Flask, session
from redis import Redis
from typing_extensions import assert_type

from feedback_blueprint import FeedbackBlueprint, RedisStore, SQLiteStore
from feedback_blueprint.signals import feedback_recorded
from feedback_blueprint.testing import capture_feedback

feedback = FeedbackBlueprint(rater=lambda: session.get("user"), url_prefix="/llm")


def results(app: Flask) -> None:
    app.register_blueprint(feedback)
    assert_type(feedback.stash(5, rater="ann"), str | None)
    assert_type(feedback.capture().stash(UUID(int=1), rater=None), str | None)
    assert_type(feedback.stash("m", replace=True), str | None)
    assert_type(feedback.capture().stash("m", replace=False), str | None)
    with feedback.capture().transaction("answer") as nothing:
        assert_type(nothing, None)
    assert_type(feedback.message_id, str | None)
    assert_type(feedback.rater_tag, str)
    assert_type(feedback.submit("m", "good", metadata={"n": 1}).revision, int)
    assert_type(feedback.retract("m").status == "retracted", bool)
    with capture_feedback(app) as events:
        assert_type(events, list[dict[str, Any]])


def stores() -> None:
    FeedbackBlueprint(store=SQLiteStore(Path("feedback.sqlite"), timeout=1))
    FeedbackBlueprint(store=RedisStore(Redis()))
    FeedbackBlueprint(store=RedisStore.from_url("redis://", timeout=1))


@feedback_recorded.connect
def heard(app: Flask, *, attributes: Mapping[str, Any], **_: object) -> None: ...


def wrong_calls() -> None:
    """Each is an error under both checkers, or its comment is one."""
    feedback.stash(rater=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.stash("m", replace="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.stash(1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.submit("m")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    feedback.submit("m", 1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    feedback.submit("m", "good", metadata={5: "m"})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    FeedbackBlueprint(rater=int)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FeedbackBlueprint(store="redis://")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
