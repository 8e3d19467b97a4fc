"""Serve the demo on 127.0.0.1, port 5000 or `PORT`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from feedback_blueprint.demo import create_app

UNDER_THE_AGENT = (
    "import newrelic.agent; newrelic.agent.initialize(); "
    "from feedback_blueprint.demo.__main__ import serve; serve()"
)


def main(*, replaces_itself: bool = os.name != "nt") -> None:
    """Start the demo under the agent.

    The agent must start before Flask is imported. It is too late for that here, so Python starts
    again. On Windows, a process that replaces another runs in the background, and the prompt comes
    back. There, this process waits for a child instead.
    """
    env = os.environ
    if not env.get("NEW_RELIC_LICENSE_KEY") and not env.get("NEW_RELIC_CONFIG_FILE"):
        env["NEW_RELIC_DEVELOPER_MODE"] = "true"  # real transactions, no network, no account
    env.setdefault("NEW_RELIC_STARTUP_TIMEOUT", "10")  # else the first reply has no trace ID
    env.setdefault("NEW_RELIC_AI_MONITORING_ENABLED", "true")
    demo = [sys.executable, "-c", UNDER_THE_AGENT]
    if replaces_itself:
        os.execv(sys.executable, demo)  # noqa: S606  # nothing that a user typed
    child = subprocess.Popen(demo)  # noqa: S603  # nothing that a user typed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the child, which ends by itself
    sys.exit(child.wait())


def serve() -> None:
    """Serve the demo in this process."""
    port = int(os.environ.get("PORT", "5000"))
    print(f"Chat on http://127.0.0.1:{port} (Ctrl+C ends it)", flush=True)  # noqa: T201  # for who started it
    create_app().run("127.0.0.1", port)


if __name__ == "__main__":
    main()
