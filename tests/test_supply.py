"""What others publish, and what it may do here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

WORKFLOWS = sorted(Path(__file__).parents[1].glob(".github/workflows/*"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_the_one_that_was_looked_at_and_ci_can_only_read(workflow: Path) -> None:
    """A tag can be moved; a commit cannot."""
    run = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    assert run["permissions"] == {"contents": "read"}
    for job in run["jobs"].values():
        assert "permissions" not in job
        for step in job["steps"]:
            if "uses" in step:
                assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
