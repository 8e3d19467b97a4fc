"""Serve the demo on 127.0.0.1, port 5000 or `PORT`."""

from __future__ import annotations

import os
import sys

from feedback_blueprint.demo import create_app


def main() -> None:
    """Serve the demo, under the agent.

    The agent has to be up before Flask is imported, which is too late to do here, so the process
    starts itself again as one would start any app: under `newrelic-admin`.
    """
    if "NEW_RELIC_ADMIN_COMMAND" not in os.environ:
        env = os.environ
        if not env.get("NEW_RELIC_LICENSE_KEY") and not env.get("NEW_RELIC_CONFIG_FILE"):
            env["NEW_RELIC_DEVELOPER_MODE"] = "true"  # real transactions, no network, no account
        env.setdefault("NEW_RELIC_STARTUP_TIMEOUT", "10")  # or the first reply has no trace ID
        env.setdefault("NEW_RELIC_AI_MONITORING_ENABLED", "true")
        python = sys.executable
        demo = [python, "-m", "feedback_blueprint.demo"]
        os.execv(python, [python, "-m", "newrelic.admin", "run-program", *demo])  # noqa: S606  # nothing that a user typed

    port = int(os.environ.get("PORT", "5000"))
    print(f"Chat on http://127.0.0.1:{port} (Ctrl+C ends it)", flush=True)  # noqa: T201  # for who started it
    create_app().run("127.0.0.1", port)


if __name__ == "__main__":
    main()
