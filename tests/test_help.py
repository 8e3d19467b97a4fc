"""What a user reads without leaving Python."""

from __future__ import annotations

import pydoc

from feedback_blueprint import FeedbackBlueprint
from feedback_blueprint.config import Settings


def test_help_is_enough_to_configure_it():
    text = pydoc.render_doc(FeedbackBlueprint)
    keys = set(Settings._fields) - {"prefix"}
    assert all(f"`FEEDBACK_{name.upper()}`" in text for name in keys)
    assert all(f"`{name}`" in text for name in ("rater", "store", "config_prefix"))
