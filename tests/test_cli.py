"""The commands."""

from __future__ import annotations

import json


def test_the_dashboard_is_printed_as_json_to_import(app):
    result = app.test_cli_runner().invoke(args=["feedback", "dashboard"])
    assert result.exit_code == 0
    assert json.loads(result.output)["pages"]
