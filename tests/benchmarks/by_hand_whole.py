"""What a good developer writes by hand in an afternoon, with the guarantees that ours has.

The schema is marshmallow's. A message has an owner, and an owner one vote on it, with revisions.
A script takes a vote and puts it into an outbox in one step. It leaves that when New Relic has
accepted the harvest with its event; what a harvest did not bring is recorded again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import threading
import time
from typing import Any
from uuid import uuid4

import newrelic.agent
import redis
from flask import Flask, request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, ValidationError, fields, validate

WEEK = 7 * 24 * 3600
LEASE = 180
PREFIX = "whole:"
OUTBOX = "whole-outbox"

log = logging.getLogger(__name__)

app = Flask("by_hand_whole")
app.secret_key = "secret"
client = redis.Redis.from_url(
    os.environ["BENCHMARK_REDIS_URL"], socket_timeout=0.25, socket_connect_timeout=0.25
)

cast_vote = client.register_script("""
local trace_id, owner = unpack(redis.call('HMGET', KEYS[1], 'trace_id', 'owner'))
if not trace_id or (owner ~= '' and owner ~= ARGV[1]) then return {'unknown'} end
local old, revision = unpack(redis.call('HMGET', KEYS[1], 'v:' .. ARGV[1], 'r:' .. ARGV[1]))
revision = tonumber(revision) or 0
if old == ARGV[2] then return {'unchanged', revision} end
if revision >= 20 then return {'too-many'} end
redis.call('HSET', KEYS[1], 'v:' .. ARGV[1], ARGV[2], 'r:' .. ARGV[1], revision + 1)
redis.call('EXPIRE', KEYS[1], 30 * 24 * 3600)
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4] .. ' ' .. ARGV[1])
return {'accepted', revision + 1, trace_id}
""")


class VoteSchema(Schema):
    message_id = fields.String(required=True, validate=validate.Length(1, 255))
    rating = fields.String(required=True, validate=validate.Length(1, 255))
    category = fields.String(allow_none=True, validate=validate.Length(1, 255))
    message = fields.String(allow_none=True, validate=validate.Length(max=255))
    metadata = fields.Dict(
        keys=fields.String(validate=validate.Regexp(r"[A-Za-z_][A-Za-z0-9_.]*\Z")),
        allow_none=True,
        validate=validate.Length(max=16),
    )


schema = VoteSchema()


def owner() -> str:
    user = request.headers.get("X-User")
    if user is None:
        return ""
    return hmac.new(b"secret", user.encode(), hashlib.sha256).hexdigest()[:32]


@app.post("/chat")
def chat() -> ResponseReturnValue:
    reply = request.get_json()["prompt"][::-1]
    message_id = uuid4().hex
    try:
        message = {"trace_id": newrelic.agent.current_trace_id() or "", "owner": owner()}
        with client.pipeline() as pipeline:
            pipeline.hset(PREFIX + message_id, mapping=message)
            pipeline.expire(PREFIX + message_id, WEEK)
            pipeline.execute()
    except redis.RedisError:
        log.exception("a message cannot be rated")
    return {"message_id": message_id, "reply": reply}


@app.post("/feedback")
def feedback() -> ResponseReturnValue:
    try:
        vote = schema.load(request.get_json())
    except ValidationError as error:
        return {"errors": error.messages}, 422
    if newrelic.agent.current_transaction() is None:
        return {"error": "the agent does not record"}, 503
    message_id, user = vote["message_id"], owner()
    packed, due = json.dumps(vote, sort_keys=True), time.time() + LEASE
    try:
        keys = [PREFIX + message_id, OUTBOX]
        status, *rest = cast_vote(keys=keys, args=[user, packed, due, message_id])
    except redis.RedisError:
        log.exception("a vote cannot be kept")
        return {"error": "try again"}, 503
    if status == b"unknown":
        return {"error": "unknown message"}, 404
    if status == b"too-many":
        return {"error": "too many revisions"}, 429
    if status == b"unchanged":
        return {"message_id": message_id, "revision": rest[0], "status": "unchanged"}
    revision, trace_id = rest
    record(vote, user, trace_id.decode(), revision)
    return {"message_id": message_id, "revision": revision, "status": "accepted"}, 202


def record(vote: dict[str, Any], user: str, trace_id: str, revision: int) -> None:
    newrelic.agent.record_llm_feedback_event(
        trace_id=trace_id,
        rating=vote["rating"],
        category=vote.get("category"),
        message=vote.get("message"),
        metadata={
            **(vote.get("metadata") or {}),
            "message_id": vote["message_id"],
            "voter": user,
            "revision": revision,
        },
    )


# Until New Relic has it


def sent(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    """Take out of the outbox what a harvest brought to New Relic."""
    result = wrapped(*args, **kwargs)
    votes = [event for kind, event in args[1] if kind["type"] == "LlmFeedbackMessage"]
    members = [f"{vote['message_id']} {vote['voter']}" for vote in votes if "voter" in vote]
    try:
        if members:
            client.zrem(OUTBOX, *members)
    except redis.RedisError:
        log.exception("votes arrived, and will arrive again")
    return result


@newrelic.agent.background_task()
def record_what_is_due() -> None:
    for member in client.zrange(OUTBOX, "-inf", time.time(), byscore=True, offset=0, num=500):
        message_id, user = member.decode().split(" ")
        names = ["trace_id", f"v:{user}", f"r:{user}"]
        trace_id, packed, revision = client.hmget(PREFIX + message_id, names)
        if packed is None:
            client.zrem(OUTBOX, member)
            continue
        client.zadd(OUTBOX, {member: time.time() + LEASE}, xx=True)
        record(json.loads(packed), user, trace_id.decode(), int(revision))


def every_minute() -> None:
    while True:
        time.sleep(60)  # until the next look: a thread of its own has nothing else to do
        try:
            record_what_is_due()
        except redis.RedisError:
            log.exception("votes wait")


newrelic.agent.wrap_function_wrapper(
    "newrelic.core.data_collector", "Session.send_custom_events", sent
)
threading.Thread(target=every_minute, daemon=True).start()
