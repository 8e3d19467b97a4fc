"""The dashboard that the package brings, and its queries by title."""

import json
from importlib import resources

FILE = resources.files("feedback_blueprint").joinpath("dashboard.json").read_text(encoding="utf-8")
DASHBOARD = json.loads(FILE)
WIDGETS = DASHBOARD["pages"][0]["widgets"]
QUERIES = {
    widget["title"]: query["query"]
    for widget in WIDGETS
    for query in widget["rawConfiguration"]["nrqlQueries"]
}
