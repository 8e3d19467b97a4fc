"""What pip needs in an environment with an empty home."""

import os
from pathlib import Path

#: Its configuration, and what it has downloaded.
PIP = {
    "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config")),
    "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
}
