"""Processes of an app whose agent is a stand-in: it harvests when a test says so."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from flask import Flask

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.agent.harvests import Harvest
from feedback_blueprint.agent.new_relic import AgentLimits
from feedback_blueprint.errors import AgentNotRecording

APPLICATION = "the app's name; another"


class StandIn:
    """An agent whose harvests happen when a test says so."""

    def __init__(self, events=300, size=1_000_000):
        self.recorded, self.counts, self.transactions = [], {}, []
        self.listener = None
        self._limits = AgentLimits(255, APPLICATION, events, size, 60)
        self.refusal = self.ignored = self.failure = None
        self.is_in_transaction = False

    def name_transaction(self, name):
        pass

    def transaction(self, name, application=None):
        self.transactions.append((name, application))
        return nullcontext()

    def trace_id(self):
        return "f" * 32

    def limits(self, application=None):
        if self.refusal or (self.ignored and application is None):
            raise AgentNotRecording(self.refusal or self.ignored)
        return self._limits

    def record(self, event):
        if self.failure:
            raise self.failure
        self.recorded.append(event)
        return lambda: not self.is_in_transaction

    def count(self, name, times=1):
        self.counts[name] = self.counts.get(name, 0) + times

    def measure(self, name, value):
        if name != "StoreSeconds":  # of each call
            self.counts[name] = value

    def listen(self, listener):
        self.listener = self.listener or listener  # the delivery comes first

    def application_name(self):
        return APPLICATION

    def register(self):
        return APPLICATION

    def check(self):
        return []

    # What a test has it do

    def change_limits(self, **limits):
        self._limits = self._limits._replace(**limits)

    def harvest(self, *arrived, **kwargs):
        """Deliver some events, and end the harvest, as the real one does in its own thread."""
        harvest = Harvest(APPLICATION, **{"has_events": True, "is_active": True} | kwargs)
        if arrived:
            self.listener.arrived(APPLICATION, arrived)
        self.listener.harvested(harvest)


class Process:
    """One process of an app: an app of its own, on the same store."""

    def __init__(self, monkeypatch, url, *, app=None, name="feedback", rater=None, **agent):
        self.agent = StandIn(**agent)
        monkeypatch.setattr("feedback_blueprint.votes.NewRelic", lambda: self.agent)
        self.app = Flask(__name__)
        self.app.config.update(FEEDBACK_STORE_URL=url, FEEDBACK_STORE_TIMEOUT=2, SECRET_KEY="k")
        self.app.config["FEEDBACK_RATINGS"] = {"bad": 0, "good": 1}
        self.app.config.update(app or {})
        self.feedback = FeedbackBlueprint(name, rater=rater)
        self.app.register_blueprint(self.feedback)
        self.client = self.app.test_client()
        [self.votes] = self.app.extensions["feedback_blueprint"].values()
        self.recorded, self.counts = self.agent.recorded, self.agent.counts

    def stash(self, **options):
        with self.app.test_request_context():
            return self.feedback.stash(**options)

    def rate(self, message_id, rating="good", **fields):
        body = {"message_id": message_id, "rating": rating} | fields
        return self.client.post("/feedback", json=body)

    @property
    def undelivered(self):
        return self.votes.delivery.backlog(APPLICATION).votes


@pytest.fixture
def start(monkeypatch, store_url):
    """Start processes of one app; each call starts another one."""
    return lambda **options: Process(monkeypatch, store_url, **options)
