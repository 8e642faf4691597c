"""Where a journal cannot live. Locks and syncs of network file systems cannot be relied on."""

from __future__ import annotations

import os
from contextlib import suppress
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


def unwritable(folder: Path) -> str:
    """Why no file can be made in `folder`, which may itself be still to make; empty when one can be.

    Makes nothing, so the disk may still say otherwise.
    """
    try:
        there = _nearest(folder)
        if not there.is_dir():
            return f"{'it' if there == folder else there} is not a folder"
        if os.statvfs(there).f_flag & os.ST_RDONLY:
            return "it is on a read-only file system"
        if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
            return f"you may not write {'there' if there == folder else f'to {there}'}"
    except OSError as error:
        return _refused(error)
    return ""


def unfit(folder: Path) -> str:
    """Why no journal can be kept in `folder`, which may itself be still to make; empty when one can be."""
    if why := unwritable(folder):
        return why
    try:
        kind = network_mount(_nearest(folder))
    except OSError as error:
        return _refused(error)
    return f"it is on {kind}, and a local disk is needed" if kind else ""


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that is there.

    Raises OSError for a name that cannot be and a disk that does not answer: neither is only still to make.
    """
    for place in (folder, *folder.absolute().parents):
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            place.lstat()
            break
    return place


def _refused(error: OSError) -> str:
    return (error.strerror or "it cannot be looked at").lower()


def mount_type(mounts: str, device: str) -> str | None:
    """The file system type of `device` ("major:minor") in the text of proc's mountinfo."""
    for line in mounts.splitlines():
        place, _, kind = line.partition(" - ")
        if place.split()[2:3] == [device]:
            return kind.split(" ", 1)[0]
    return None
