"""On which file system a file lies."""

from __future__ import annotations

import re
from pathlib import Path

TABLE = Path("/proc/mounts")
"""Linux's table of what is mounted (`man 5 fstab`); other systems have none."""

NETWORK = re.compile(
    r"nfs\d*|cifs|smb\w*|afs|ceph|lustre|gfs2?|ocfs2|beegfs|ncpfs|davfs"
    r"|fuse\.(?:sshfs|glusterfs|ceph|davfs2?|rclone|s3fs|gcsfuse|goofys|mount-s3|juicefs|gvfsd-fuse)"
)
"""Types of those that lie on other hosts, or on several: SQLite's WAL needs shared memory."""


def file_system(path: Path, table: Path = TABLE) -> str | None:
    """Return the type of the file system that a file is on, if that can be told."""
    try:
        lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place = path.resolve()
    found, depth = None, 0
    for line in lines:
        _, folder, kind, *_ = line.split(" ")
        mounted = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), folder))
        # What is mounted later lies above what was there.
        if place.is_relative_to(mounted) and len(mounted.parts) >= depth:
            found, depth = kind, len(mounted.parts)
    return found
