"""Where an app keeps what a blueprint holds for it: found by the blueprint, or by its name."""

from __future__ import annotations

from flask import Blueprint, current_app

from .votes import Votes

EXTENSION = "feedback_blueprint"


def votes_of(blueprint: Blueprint | str) -> Votes:
    """Return what the current app holds for a blueprint, or for the one that has this name there.

    Raises `RuntimeError`, with the remedy, where no app is known, or one without this blueprint.
    """
    try:
        found = current_app.blueprints[blueprint] if isinstance(blueprint, str) else blueprint
        votes: Votes = current_app.extensions[EXTENSION][found]
    except KeyError:
        name = blueprint if isinstance(blueprint, str) else blueprint.name
        raise RuntimeError(
            f"The blueprint {name!r} is not registered on this app. "
            "Did you forget to call app.register_blueprint()?"
        ) from None
    except RuntimeError as error:
        raise RuntimeError(
            "No app is known here. Use it in app.app_context(), or in a thread or a task what "
            "capture() returned in the request."
        ) from error
    return votes


def name_of(blueprint: Blueprint) -> str:
    """Return the name by which the current app knows a blueprint, which may not be its own."""
    return next(name for name, each in current_app.blueprints.items() if each is blueprint)
