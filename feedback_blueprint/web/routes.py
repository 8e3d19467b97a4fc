"""The paths of the routes, and what a route of the app on the same path does to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from flask import Blueprint
from flask.sansio.app import App
from flask.sansio.blueprints import BlueprintSetupState
from werkzeug.routing import Map, Rule

from ..errors import ConfigurationError
from ..model import Finding
from ..votes import EXTENSION

FEEDBACK_PATH = "/feedback"

STATIC_PATH = "/feedback/static/<path:filename>"

METHODS = {"GET", "HEAD", "POST", "DELETE"}
"""Methods of `FEEDBACK_PATH` that Flask does not answer itself; `STATIC_PATH` has two of them."""

REMEDY = "Register the blueprint with another url_prefix"

NAME = re.compile(r"(?:(?<=<)(?:default|string):)?[^<>:]+>")
"""The name of a variable in a rule, with its converter if that is the default one."""


def refuse_taken(state: BlueprintSetupState) -> None:
    """Raise `ConfigurationError` if the app already has a route where the blueprint needs its own.

    The blueprint is not registered yet. Raises what Flask raises for a wrong `url_prefix`.
    """
    prefix, url_map = (state.url_prefix or "").rstrip("/"), state.app.url_map
    ours = map_of(
        url_map,
        Rule(f"{prefix}{FEEDBACK_PATH}", methods=METHODS, subdomain=state.subdomain),
        Rule(f"{prefix}{STATIC_PATH}", methods=["GET"], subdomain=state.subdomain),
    )
    for theirs in url_map.iter_rules():
        if _has_a_place_of(ours, theirs):
            raise ConfigurationError(f"The app already answers {_described(theirs)}. {REMEDY}.")


def check_routes(app: App, names: Iterable[str]) -> list[Finding]:
    """Find each later route of the app that gets no requests, or takes our votes."""
    endpoints = [f"{name}.{endpoint}" for name in names for endpoint in ("feedback", "static")]
    ours = map_of(app.url_map, *(r for each in endpoints for r in app.url_map.iter_rules(each)))
    seen = "the app also answers %s: one of the two gets no requests"
    remedy = f"{REMEDY}, or remove that route."
    return [
        Finding("route", False, seen % _described(theirs), remedy)
        for theirs in app.url_map.iter_rules()
        if theirs.endpoint not in endpoints
        and (_has_a_place_of(ours, theirs) or _takes_votes_of(ours, theirs, app))
    ]


def names_of(app: App, blueprint: Blueprint) -> list[str]:
    """Return the names that a blueprint has in the app, one for each registration."""
    return [name for name, registered in app.blueprints.items() if registered is blueprint]


def map_of(url_map: Map, *rules: Rule) -> Map:
    """Return a map like the app's that has only these rules."""
    return Map(
        [rule.empty() for rule in rules],
        default_subdomain=url_map.default_subdomain,
        converters=url_map.converters,
        host_matching=url_map.host_matching,
    )


def _has_a_place_of(ours: Map, theirs: Rule) -> bool:
    """Whether two rules match the same requests: werkzeug takes the first, and says nothing."""
    places = [_place(mine) for mine in ours.iter_rules() if _answers(theirs, mine.methods or ())]
    return _place(theirs) in places


def _takes_votes_of(ours: Map, theirs: Rule, app: App) -> bool:
    """Whether a rule wins over ours because ours has variables and it has none.

    A rule of another blueprint of this package may: the app wants that.
    """
    is_a_feedback_blueprint = (
        app.blueprints.get(theirs.endpoint.rpartition(".")[0]) in app.extensions[EXTENSION]
    )
    if is_a_feedback_blueprint or "<" in theirs.rule or not _answers(theirs, ["POST"]):
        return False
    with suppress(Exception):  # no rule of ours matches, or a converter of the app's fails
        ours.bind("", subdomain=theirs.subdomain).match(theirs.rule.rstrip("/"), "POST")
        return True
    return False


def _answers(rule: Rule, methods: Iterable[str]) -> bool:
    if rule.build_only or rule.websocket:
        return False
    return bool(METHODS.intersection(methods).intersection(rule.methods or METHODS))


def _place(rule: Rule) -> tuple[str, str | None, str | None]:
    """Return where a rule matches, without the names of its variables and a slash at its end."""
    return NAME.sub(">", rule.rule.rstrip("/")), rule.subdomain, rule.host


def _described(rule: Rule) -> str:
    return f"{rule.rule} (endpoint {rule.endpoint!r})"
