"""Counts the CPUs this process may use, which in a container are often fewer than the machine has."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Sizes of thread pools: of OpenMP, OpenBLAS and pyarrow; of TensorFlow inside one operation and across them."""


def count_cpus(root: Path = CGROUP_ROOT, own: Path = OWN_CGROUPS) -> int:
    """Return the CPUs of the affinity mask or of the cgroup's quota, whichever are fewer; at least 1.

    A quota that is no whole number is rounded down: one thread more would be throttled in every period.

    Parameters
    ----------
    root : Path
        Where the cgroup file system is mounted.
    own : Path
        The file that lists this process's control groups.
    """
    quotas = [quota for folder in _list_groups(root, own) if (quota := _read_quota(folder)) is not None]
    return max(1, int(min([_count_affinity(), *quotas])))


def limit_thread_pools() -> None:
    """Size the thread pools of native libraries by `count_cpus` where a quota allows fewer CPUs than they would count.

    They look at the affinity mask alone. Sets environment variables, which libraries read when they are imported and
    child processes inherit; a variable that is set already stays.
    """
    cpus = count_cpus()
    if cpus < _count_affinity():
        for name in THREAD_VARIABLES:
            os.environ.setdefault(name, str(cpus))


def _count_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _list_groups(root: Path, own: Path) -> list[Path]:
    """Return the folders whose quotas bind this process: its own groups and their ancestors, in version 1 and 2.

    The root comes first: in a container it often is the process's own group, under whatever name `own` lists it.
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
    """Return the CPUs a group may use: ``cpu.max`` of version 2, ``cpu.cfs_*_us`` of version 1; None: no limit."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no such file, the word "max", or not a cgroup's
        return None
