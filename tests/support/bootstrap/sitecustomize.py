"""Starts the agent as newrelic-admin run-program does, with less work: see under_agent.py."""

import importlib.metadata

import newrelic.agent

# The agent looks up the library of each module, which takes a look at every installed file.
importlib.metadata.packages_distributions = dict  # type: ignore[assignment]  # a callable, too
newrelic.agent.initialize()
