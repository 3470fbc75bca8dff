from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from churn.runtime import cpus
from churn.runtime.cpus import THREAD_VARIABLES, count_cpus, limit_thread_pools

if TYPE_CHECKING:
    from pathlib import Path

V1 = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def v1(folder: str, quota: int, period: int = 100_000) -> dict[str, str]:
    return {f"{folder}/{V1[0]}": str(quota), f"{folder}/{V1[1]}": str(period)}


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "", 16),
        # Version 2: no limit, a limit, one above the affinity mask, other periods.
        ({"cpu.max": "max 100000"}, "0::/", 16),
        ({"cpu.max": "400000 100000"}, "0::/", 4),
        ({"cpu.max": "9000000 100000"}, "0::/", 16),
        ({"cpu.max": "20000 10000"}, "0::/", 2),
        ({"cpu.max": "1500000 500000"}, "0::/", 3),
        # Rounded down, and at least one.
        ({"cpu.max": "150000 100000"}, "0::/", 1),
        ({"cpu.max": "299999 100000"}, "0::/", 2),
        ({"cpu.max": "300000 100000"}, "0::/", 3),
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        # The tightest of nested limits, wherever it stands; a sibling's does not count.
        ({"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"a/cpu.max": "800000 100000", "a/b/cpu.max": "200000 100000"}, "0::/a/b", 2),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "800000 100000"}, "0::/a/b", 2),
        ({"a/cpu.max": "500000 100000", "a/b/c/d/cpu.max": "600000 100000"}, "0::/a/b/c/d", 5),
        ({"a/cpu.max": "200000 100000", "b/cpu.max": "800000 100000"}, "0::/b", 8),
        # Version 1, with the controllers' folder under either name, and beside version 2.
        (v1("cpu", -1), "3:cpu,cpuacct:/", 16),
        (v1("cpu", 500_000), "2:memory:/x\n3:cpu,cpuacct:/", 5),
        (v1("cpu/d", 600_000), "3:cpu,cpuacct:/d", 6),
        (v1("cpu,cpuacct/d/e", 700_000), "3:cpu,cpuacct:/d/e", 7),
        (v1("cpuacct,cpu/d", 700_000), "3:cpuacct,cpu:/d", 7),
        (v1("cpu", 400_000) | v1("cpu/d", 700_000), "3:cpu:/d", 4),
        (v1("cpu/d", 600_000), "1:name=systemd:/d\n3:cpu:/d\n0::/unified/d", 6),
        (v1("memory/d", 600_000), "4:memory:/d", 16),
        # In a container whose own group is mounted as the root, under a name that only the host has.
        ({"cpu.max": "200000 100000"}, "0::/../../docker/0123", 2),
        (v1("cpu", 300_000), "3:cpu,cpuacct:/docker/0123", 3),
        # What can't be read is no limit.
        ({"cpu.max": "rubbish"}, "0::/", 16),
        ({"cpu.max": "200000 0"}, "0::/", 16),
        (v1("cpu", 200_000, 0), "3:cpu:/", 16),
        ({f"cpu/{V1[0]}": "200000"}, "3:cpu:/", 16),
        ({"cpu.max": "400000 100000"}, "\nrubbish\n0::/ä:b", 4),
    ],
)
def test_count(tmp_path: Path, files: dict[str, str], own: str, expected: int) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    groups = tmp_path / "own"
    groups.write_text(own + "\n" if own else "", encoding="utf-8")
    assert count_cpus(tmp_path / "cgroup", groups) == expected


def test_without_any_cgroup(tmp_path: Path) -> None:
    assert count_cpus(tmp_path, tmp_path / "none") == 16


def test_files_are_scored_by_as_many_threads_as_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    from batch.files import pipeline

    for count, expected in ((1, 1), (2, 2), (64, pipeline.MAX_WORKERS)):
        monkeypatch.setattr(pipeline, "count_cpus", lambda count=count: count)
        assert pipeline.count_workers() == expected


@pytest.mark.parametrize(("allowed", "expected"), [(2, "2"), (16, None)])
def test_thread_pools_are_sized_by_a_quota_and_else_left_alone(
    monkeypatch: pytest.MonkeyPatch, allowed: int, expected: str | None
) -> None:
    monkeypatch.setattr(cpus, "count_cpus", lambda: allowed)
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "1"})
    limit_thread_pools()
    assert [os.environ.get(name) for name in THREAD_VARIABLES] == ["1", expected, expected]
