"""How many CPUs this process may really use, which in a container is not how many the machine has."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def count_cpus(root: Path = CGROUP_ROOT, own: Path = OWN_CGROUPS) -> int:
    """Return the CPUs of the affinity mask or the cgroup's quota, whichever is fewer; at least 1.

    Parameters
    ----------
    root : Path
        Where the cgroup file system is mounted.
    own : Path
        The file that names this process's groups.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _own_folders(root, own) if (quota := _read_quota(folder)) is not None]
    return max(1, int(min([affinity, *quotas])))


def _own_folders(root: Path, own: Path) -> list[Path]:
    """Return the folders that may limit this process: its group's and each one above, for both versions."""
    folders = [root, root / "cpu"]
    try:
        lines = own.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = (root / "cpu" if controllers else root) / path.lstrip("/")
        while folder not in folders and root in folder.parents:
            folders.append(folder)
            folder = folder.parent
    return folders


def _read_quota(folder: Path) -> float | None:
    """Return the CPUs a group's quota allows: ``cpu.max`` of version 2, ``cpu.cfs_*_us`` of version 1."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
