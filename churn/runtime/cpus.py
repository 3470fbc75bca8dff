"""Number of CPUs available to this process, which in a container is often less than that of the machine."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Sizes of the thread pools of OpenMP, OpenBLAS and pyarrow, and of TensorFlow within and across operations."""


def count_cpus(root: Path = CGROUP_ROOT, own: Path = OWN_CGROUPS) -> int:
    """Count the CPUs allowed by the affinity mask and by the quotas of the process's control groups.

    A fractional quota is rounded down: with one thread more, the process would be throttled in every period.

    Parameters
    ----------
    root : Path
        Mount point of the cgroup file system.
    own : Path
        File that lists the control groups of this process.

    Returns
    -------
    int
        At least 1.
    """
    quotas = [quota for folder in _list_groups(root, own) if (quota := _read_quota(folder)) is not None]
    return max(1, int(min([_count_affinity(), *quotas])))


def limit_thread_pools() -> None:
    """Limit the thread pools of native libraries to `count_cpus`, if that is less than the affinity mask allows.

    The libraries consider the affinity mask only. This sets environment variables, which they read on import and which
    child processes inherit; variables that are already set are not changed.
    """
    cpus = count_cpus()
    if cpus < _count_affinity():
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, str(cpus))


def _count_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _list_groups(root: Path, own: Path) -> list[Path]:
    """Return the directories of the process's control groups and their ancestors, for cgroup version 1 and 2.

    The root is always included: in a container it is often the process's own group, which `own` lists by its host name.
    """
    folders = [root, root / "cpu", root / "cpu,cpuacct"]
    try:
        lines = own.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in (root / "cpu", root / controllers) if controllers else (root,):
            folder = mount / path.lstrip("/")
            while folder not in folders and root in folder.parents:
                folders.append(folder)
                folder = folder.parent
    return folders


def _read_quota(folder: Path) -> float | None:
    """Read the CPU quota of a group: ``cpu.max`` (version 2) or ``cpu.cfs_*_us`` (version 1); None if unlimited."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, "max", or not a control group
        return None
