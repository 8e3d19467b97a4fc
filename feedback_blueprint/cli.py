"""The commands `flask feedback ...`."""

from __future__ import annotations

import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import click
from flask import Blueprint, current_app
from flask.cli import with_appcontext

from . import checks, personal_data
from .attributes import message_id_text
from .errors import StoreUnavailable
from .model import Backlog, Finding, Severity, StoredMessage, Vote
from .votes import Votes
from .web.routes import check_routes, names_of

NO_PROGRESS_SECONDS = 180.0
"""Seconds without progress after which `deliver` gives up: well over the longest lease, 95 s."""

POLL_SECONDS = 0.2
"""Seconds from one look at what is left to the next."""

SIGNS: dict[Severity, str] = {
    "well": "\N{CHECK MARK}",
    "worth changing": "!",
    "wrong": "\N{BALLOT X}",
}
"""The sign before each finding."""


def add_commands(blueprint: Blueprint, votes: Callable[[], Votes]) -> None:
    """Add the commands to the blueprint's group, which has its name.

    `votes` returns what the current app holds for the blueprint.
    """
    blueprint.cli.help = "See how feedback is doing."
    _add_check_and_show(blueprint, votes)
    _add_deliver(blueprint.cli, votes)
    _add_forget_and_export(blueprint.cli, votes)
    _add_documents(blueprint, votes)


def _add_check_and_show(blueprint: Blueprint, votes: Callable[[], Votes]) -> None:
    """Add the commands that check the installation and show one message."""
    group = blueprint.cli

    @group.command()
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option(
        "--full", is_flag=True, help="Read a SQLite file to its end: it may take minutes."
    )
    @with_appcontext
    def check(as_json: bool, full: bool) -> None:
        """Check the agent, the store and the settings; exit with 1 if something is wrong.

        The sign of each line says whether it is well, worth changing (!), or wrong. If something is
        wrong, votes are lost or refused, now or later.
        """
        findings = checks.check(votes(), full=full)
        findings += check_routes(current_app, names_of(current_app, blueprint))
        if as_json:
            shown = [
                {
                    "what": finding.what,
                    "severity": finding.severity,
                    "seen": finding.seen,
                    "remedy": "" if finding.ok else finding.remedy,
                }
                for finding in findings
            ]
            click.echo(json.dumps(shown, indent=2))
        else:
            echo(table(findings))
        if any(finding.severity == "wrong" for finding in findings):
            raise click.exceptions.Exit(1)

    # One minted ID in 64 begins with a dash.
    @group.command(context_settings={"ignore_unknown_options": True})
    @click.argument("message_id")
    @with_appcontext
    def show(message_id: str) -> None:
        """Show all that is kept of a message: its trace ID, context, text and votes."""
        try:
            shown = votes().store.show(votes().keys.of(message_id_text(message_id)))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="MESSAGE_ID") from error
        except StoreUnavailable as error:
            raise click.ClickException(str(error)) from error
        if shown is None:
            raise click.ClickException("There is no such message: never made, or expired.")
        echo(description(shown, time.time()))


def _add_deliver(group: click.Group, votes: Callable[[], Votes]) -> None:
    """Add the command that delivers what is left."""

    @group.command()
    @with_appcontext
    def deliver() -> None:
        """Deliver what is undelivered now to New Relic; exit with 1 if some of it is left.

        Run it when no process of the app runs any more, or in cron: a running process does the
        same. Waits until all votes have arrived that were accepted before it began. Gives up if
        nothing arrives for three minutes.
        """
        left, oldest, since, begun = math.inf, 0, time.monotonic(), time.time() * 1000
        while time.monotonic() < since + NO_PROGRESS_SECONDS:
            try:
                backlog = _backlog(votes())
            except StoreUnavailable as error:
                raise click.ClickException(str(error)) from error
            if backlog is None:
                raise click.ClickException("The agent has no session: see flask feedback check.")
            if backlog.votes < left:
                left, since = backlog.votes, time.monotonic()
                click.echo(f"{left} undelivered")
            if backlog.oldest is None or backlog.oldest > begun:
                return
            if backlog.oldest > oldest:
                oldest, since = backlog.oldest, time.monotonic()
            time.sleep(POLL_SECONDS)  # the agent's harvests do the work
        raise click.ClickException(f"{left} votes do not arrive: see the agent's log.")


def _backlog(votes: Votes) -> Backlog | None:
    """Return what is undelivered of this process's New Relic application, if it has one."""
    application = votes.agent.register()
    return None if application is None else votes.delivery.backlog(application)


def _add_forget_and_export(group: click.Group, votes: Callable[[], Votes]) -> None:
    """Add the commands for a person who asks what is kept of them."""

    @group.command()
    @click.option("--rater", metavar="X", help="What this app's rater returns for the person.")
    @click.option("--message", metavar="ID", help="One message, with all votes on it.")
    @with_appcontext
    def forget(rater: str | None, message: str | None) -> None:
        """Remove what is kept of a person, or of a message, for good.

        It removes votes, comments, and the messages that were made for the person, under all of the
        app's secret keys. With both options it removes what is kept of this person on this message.

        Prints a line of JSON for each message, with its message_id and trace_id and the
        feedback_ids of its votes. Ask New Relic to delete those.
        """
        if rater is None and message is None:
            raise click.UsageError("Give --rater X or --message ID.")
        if rater is not None:
            refuse_without_rater(votes())
        try:
            message_id = None if message is None else message_id_text(message)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--message") from error
        find = functools.partial(personal_data.forget, votes(), rater, message_id)
        print_lines(find, "removed")

    @group.command()
    @click.option(
        "--rater", metavar="X", required=True, help="What this app's rater returns for the person."
    )
    @with_appcontext
    def export(rater: str) -> None:
        """Print all that is kept of a person, a line of JSON for each message.

        It prints votes, comments, and the messages that were made for the person, under all of
        the app's secret keys.
        """
        refuse_without_rater(votes())
        print_lines(functools.partial(personal_data.export, votes(), rater), "found")


def refuse_without_rater(votes: Votes) -> None:
    """Raise if the app has no rater."""
    if not votes.raters.fingerprints:
        raise click.UsageError(
            "This app has no rater, so the store does not know whose messages it has. Use "
            "flask feedback forget --message ID for each message of the person."
        )


class ProgressPrinter:
    """Counts the messages that were looked at, and prints the number now and then to stderr."""

    STEP = 100_000

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, more: int) -> None:
        """Count more messages."""
        before, self.number = self.number, self.number + more
        if before // self.STEP < self.number // self.STEP:
            click.echo(f"{self.number} messages looked at", err=True)


def print_lines(find: Callable[[ProgressPrinter], Iterator[Mapping[str, Any]]], what: str) -> None:
    """Print each object on a line as it comes, and at the end their number to stderr."""
    number, progress = 0, ProgressPrinter()
    try:
        for each in find(progress):
            click.echo(json.dumps(each))
            number += 1
    except StoreUnavailable as error:
        done = f"{number} messages {what} before it failed. Repeat it."
        raise click.ClickException(f"{error} {done}") from error
    looked_at = f" of {progress.number} looked at" if progress.number else ""
    click.echo(f"{number} messages {what}{looked_at}", err=True)


def _add_documents(blueprint: Blueprint, votes: Callable[[], Votes]) -> None:
    """Add the commands that print a dashboard and the OpenAPI document."""

    @blueprint.cli.command()
    def dashboard() -> None:
        """Print a New Relic dashboard over the feedback, as JSON to import there."""
        file = files("feedback_blueprint").joinpath("dashboard", "dashboard.json")
        click.echo(file.read_text(encoding="utf-8"), nl=False)

    @blueprint.cli.command()
    @with_appcontext
    def openapi() -> None:
        """Print an OpenAPI description of the routes, as this app configures them."""
        try:
            from .web.openapi import document
        except ModuleNotFoundError as error:
            raise click.ClickException("Install feedback-blueprint[openapi].") from error
        click.echo(json.dumps(document(current_app, blueprint, votes().settings), indent=2))


def echo(text: str) -> None:
    """Print text, and escape each character that the terminal or the file cannot have."""
    encoding = sys.stdout.encoding
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


def table(findings: Sequence[Finding]) -> str:
    """Return the findings as lines, each with its sign, and with its remedy if it is not well."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{SIGNS[finding.severity]} {finding.what:{width}}  {finding.seen}")
        if not finding.ok and finding.remedy:
            lines.append(f"  {'':{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def description(stored: StoredMessage, now: float) -> str:
    """Return all that is kept of a message as lines."""
    message = stored.message
    lines = [
        f"trace ID   {printable(message.trace_id)}",
        f"rateable   for {max(stored.rateable_until - now, 0):.0f} s more",
        f"kept       for {stored.expires_at - now:.0f} s more",
        f"owner      {message.owner.hex() or 'anyone'}",
        *(f"context    {name} = {value!r}" for name, value in message.context.items()),
    ]
    if message.content is not None:
        lines.append(f"content    {printable(message.content)}")
    for cast in stored.votes:
        vote, rater = Vote.unpack(cast.vote), cast.voter.hex() or "anyone"
        said = repr(vote._asdict()) if vote else "retracted"
        if cast.is_undelivered:
            said += f", undelivered since {personal_data.iso_time(cast.cast_at / 1000)}"
        lines.append(f"vote       by {rater}, revision {cast.revision}: {said}")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return a user's text so that it cannot draw on an operator's terminal."""
    return text if text.isprintable() else repr(text)
