"""Starts the agent as newrelic-admin run-program does, with less work: see under_agent.py."""

import importlib.metadata

import newrelic.agent

importlib.metadata.packages_distributions = dict  # type: ignore[assignment]
newrelic.agent.initialize()
