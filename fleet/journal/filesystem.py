"""Where a journal must not live: locks and syncs of network file systems cannot be relied on."""

from __future__ import annotations

import os
from pathlib import Path

NETWORK = frozenset(
    {
        "9p",
        "afs",
        "ceph",
        "cifs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)

_MOUNTS = Path("/proc/self/mountinfo")


def network_mount(folder: Path) -> str | None:
    """The type of the network file system that `folder` is on; None for a local one or when nobody knows."""
    try:
        mounts = _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return None
    device = folder.stat().st_dev
    kind = mount_type(mounts, f"{os.major(device)}:{os.minor(device)}")
    return kind if kind in NETWORK else None


def mount_type(mounts: str, device: str) -> str | None:
    """The file system type of `device` ("major:minor") in the text of proc's mountinfo."""
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        if place.split()[2:3] == [device]:
            return kind.split(" ", 1)[0]
    return None
