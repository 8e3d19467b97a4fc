"""The commands: `flask feedback ...`."""

from __future__ import annotations

from importlib.resources import files

import click


def add_commands(group: click.Group) -> None:
    """Add the commands to the blueprint's group, which bears its name."""
    group.help = "See how feedback is doing."
    group.command("dashboard")(dashboard)


def dashboard() -> None:
    """Print a New Relic dashboard over the feedback, as JSON to import there."""
    click.echo(files(__package__).joinpath("dashboard.json").read_text(encoding="utf-8"), nl=False)
