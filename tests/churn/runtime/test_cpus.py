"""CPUs: of the affinity mask and the cgroup's quota, the fewer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from churn.runtime.cpus import count_cpus

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({}, "", 16),
        ({"cpu.max": "max 100000"}, "0::/", 16),
        ({"cpu.max": "400000 100000"}, "0::/", 4),
        ({"cpu.max": "150000 100000"}, "0::/", 1),
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "max 100000", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"a/cpu.max": "800000 100000", "a/b/cpu.max": "200000 100000"}, "0::/a/b", 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/", 16),
        ({"cpu/cpu.cfs_quota_us": "500000", "cpu/cpu.cfs_period_us": "100000"}, "2:memory:/x\n3:cpu,cpuacct:/", 5),
        ({"cpu/d/cpu.cfs_quota_us": "600000", "cpu/d/cpu.cfs_period_us": "100000"}, "3:cpu,cpuacct:/d", 6),
        ({"cpu.max": "rubbish"}, "0::/", 16),
        ({"cpu.max": "9000000 100000"}, "0::/", 16),
    ],
)
def test_count(tmp_path: Path, files: dict[str, str], own: str, expected: int) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    groups = tmp_path / "own"
    groups.write_text(own + "\n" if own else "")
    assert count_cpus(tmp_path / "cgroup", groups) == expected


def test_without_any_cgroup(tmp_path: Path) -> None:
    assert count_cpus(tmp_path, tmp_path / "none") == 16
