"""The dashboard that the package brings, and its queries by title."""

import json
from importlib import resources

FOLDER = resources.files("feedback_blueprint").joinpath("dashboard")
FILE = FOLDER.joinpath("dashboard.json").read_text(encoding="utf-8")
DASHBOARD = json.loads(FILE)
PAGES = [page["widgets"] for page in DASHBOARD["pages"]]
FEEDBACK, DELIVERY = (
    {
        widget["title"]: query["query"]
        for widget in widgets
        for query in widget["rawConfiguration"]["nrqlQueries"]
    }
    for widgets in PAGES
)
QUERIES = FEEDBACK | DELIVERY
