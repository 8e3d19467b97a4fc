"""Whose route answers: those of the blueprint beside the app's own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from flask import Blueprint
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.routing import Map, Rule

from ..errors import ConfigurationError
from ..findings import Finding

FEEDBACK = "/feedback"

STATIC = "/feedback/static/<path:filename>"

METHODS = {"GET", "HEAD", "POST", "DELETE"}
"""Those of `FEEDBACK` that Flask does not answer by itself; `STATIC` has the first two."""

REMEDY = "Register the blueprint with another url_prefix"

NAME = re.compile(r"(?:(?<=<)(?:default|string):)?[^<>:]+>")
"""The name of a variable in a rule, after its converter; with it where it is the default one."""


def refuse_taken(state: BlueprintSetupState) -> None:
    """Raise `ConfigurationError` for a route of the app where the blueprint is about to have one.

    Nothing is registered yet. Raises what Flask would raise for a `url_prefix` that cannot be.
    """
    prefix, url_map = (state.url_prefix or "").rstrip("/"), state.app.url_map
    ours = _apart(
        url_map,
        Rule(f"{prefix}{FEEDBACK}", methods=METHODS, subdomain=state.subdomain),
        Rule(f"{prefix}{STATIC}", methods=["GET"], subdomain=state.subdomain),
    )
    for theirs in url_map.iter_rules():
        if _is_at_a_place_of(ours, theirs):
            raise ConfigurationError(f"The app already answers {_told(theirs)}. {REMEDY}.")


def check_routes(app: App, names: Iterable[str]) -> list[Finding]:
    """Tell of each route, given to the app later, that gets no requests or takes our votes."""
    endpoints = [f"{name}.{endpoint}" for name in names for endpoint in ("feedback", "static")]
    ours = _apart(app.url_map, *(r for each in endpoints for r in app.url_map.iter_rules(each)))
    seen, remedy = "the app also answers %s: one of the two gets no requests", "%s, or remove it."
    return [
        Finding("route", False, seen % _told(theirs), remedy % REMEDY)
        for theirs in app.url_map.iter_rules()
        if theirs.endpoint not in endpoints
        and (_is_at_a_place_of(ours, theirs) or _takes_votes_of(ours, theirs, app))
    ]


def names_of(app: App, blueprint: Blueprint) -> list[str]:
    """Return the names that a blueprint has in the app: one for each registration."""
    return [name for name, registered in app.blueprints.items() if registered is blueprint]


def _apart(url_map: Map, *rules: Rule) -> Map:
    """Return a map of some rules alone, which otherwise is like the app's."""
    return Map(
        [rule.empty() for rule in rules],
        default_subdomain=url_map.default_subdomain,
        converters=url_map.converters,
        host_matching=url_map.host_matching,
    )


def _is_at_a_place_of(ours: Map, theirs: Rule) -> bool:
    """Return whether a method has two rules, of which werkzeug takes the first without a word."""
    places = [_place(mine) for mine in ours.iter_rules() if _answers(theirs, mine.methods or ())]
    return _place(theirs) in places


def _takes_votes_of(ours: Map, theirs: Rule, app: App) -> bool:
    """Return whether a rule is more specific than ours, which has variables, and so wins.

    Another blueprint of this package is meant to.
    """
    kin = (
        app.blueprints.get(theirs.endpoint.rpartition(".")[0])
        in app.extensions["feedback_blueprint"]
    )
    if kin or "<" in theirs.rule or not _answers(theirs, ["POST"]):
        return False
    with suppress(Exception):  # it is none of ours; or what a converter of the app's raises
        ours.bind("", subdomain=theirs.subdomain).match(theirs.rule.rstrip("/"), "POST")
        return True
    return False


def _answers(rule: Rule, methods: Iterable[str]) -> bool:
    if rule.build_only or rule.websocket:
        return False
    return bool(METHODS.intersection(methods).intersection(rule.methods or METHODS))


def _place(rule: Rule) -> tuple[str, str | None, str | None]:
    """Return where a rule matches, whatever its variables are called, with a slash or without."""
    return NAME.sub(">", rule.rule.rstrip("/")), rule.subdomain, rule.host


def _told(rule: Rule) -> str:
    return f"{rule.rule} (endpoint {rule.endpoint!r})"
