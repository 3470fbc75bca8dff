"""Token buckets that processes share: exact in sum, whoever takes the tokens, and never waited for."""

from __future__ import annotations

from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
from processes import run_python, start_python

from service.guard import buckets
from service.guard.buckets import FILE_BYTES, BucketFile, Meter, RateLimits
from service.guard.caller import Caller, rate_limited

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def count_passed(meters: list[Meter], tries: int) -> int:
    return sum(meters[number % len(meters)].begin() is None for number in range(tries))


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("rate", [0.5, 1, 7, 50, 1000, 25_000])
def test_the_workers_together_let_the_rate_pass(workers: int, rate: float, tmp_path: Path) -> None:
    clock = Clock()
    files = [BucketFile(tmp_path / "buckets", clock) for _ in range(workers)]
    meters = [Meter(file, "crm", RateLimits(rate, None)) for file in files]
    burst = max(1, int(rate))
    assert count_passed(meters, 3 * burst + 100) == burst
    seconds = 40 if rate < 10 else 3
    passed = 0
    for _ in range(seconds * 20):
        clock.now += 0.05
        passed += count_passed(meters, int(rate / 10) + 2 * workers)
    assert seconds * rate * 0.9 <= passed <= seconds * rate * 1.1 + 1


def test_a_worker_alone_gets_the_whole_rate_though_another_holds_a_portion(tmp_path: Path) -> None:
    clock = Clock()
    first, second = (Meter(BucketFile(tmp_path / "b", clock), "crm", RateLimits(100, None)) for _ in range(2))
    second.begin()
    passed = 0
    for _ in range(100):
        clock.now += 0.1
        passed += count_passed([first], 30)
    assert 1000 <= passed <= 1100


def test_customers_are_paid_after_they_are_scored(tmp_path: Path) -> None:
    clock = Clock()
    meters = [Meter(BucketFile(tmp_path / "b", clock), "crm", RateLimits(None, 1000)) for _ in range(2)]
    assert meters[0].begin() is None
    meters[0].charge(5000)  # more than a bucket holds, which passes if the bucket is not empty
    excess = meters[0].begin()
    assert excess is not None
    assert excess.quota == "customers"
    assert 3.9 < excess.wait < 4.1
    clock.now += excess.wait - 0.1
    assert meters[0].begin() is not None
    assert meters[1].begin() is not None  # the other worker knows of it
    clock.now += 0.2
    assert meters[1].begin() is None


def test_a_table_pauses_until_its_customers_are_within_the_rate() -> None:
    clock = Clock()
    meter = Meter(BucketFile(clock=clock), "crm", RateLimits(None, 100))
    assert meter.find_pause() == 0
    meter.charge(1100)
    assert 9.9 < meter.find_pause() < 10.1
    clock.now += 10.1
    assert meter.find_pause() == 0
    assert Meter(BucketFile(clock=clock), "crm", RateLimits(1, None)).find_pause() == 0


def test_both_limits_hold() -> None:
    clock = Clock()
    meter = Meter(BucketFile(clock=clock), "crm", RateLimits(2, 1000))
    assert [meter.begin() is None for _ in range(3)] == [True, True, False]
    clock.now += 1
    meter.charge(3000)
    found = [meter.begin(), meter.begin()]
    assert {excess.quota for excess in found if excess is not None} == {"customers"}


def test_callers_do_not_share() -> None:
    file = BucketFile(clock=Clock())
    meters = [Meter(file, f"caller {number}", RateLimits(5, None)) for number in range(500)]
    assert [count_passed([meter], 10) for meter in meters] == [5] * 500


def test_the_least_recently_used_bucket_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "SLOTS", 4)
    monkeypatch.setattr(buckets, "PROBES", 4)
    clock = Clock()
    file = BucketFile(clock=clock)
    meters = [Meter(file, f"caller {number}", RateLimits(1, None)) for number in range(5)]
    for meter in meters[:4]:
        assert meter.begin() is None
        clock.now += 0.01
    assert meters[4].begin() is None  # in the slot of the first
    assert [meter.begin() is None for meter in meters[1:]] == [False] * 4
    assert meters[0].begin() is None


def test_a_lock_that_another_process_holds_delays_nothing_and_is_paid_later(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "buckets"
    meter = Meter(BucketFile(path, clock), "crm", RateLimits(1, None))
    holder = (
        "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\nfcntl.lockf(fd, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\nsys.stdin.readline()"
    )
    with start_python("-c", holder, path, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert [meter.begin() for _ in range(5)] == [None] * 5
        process.kill()  # the kernel releases its lock
    excess = meter.begin()
    assert excess is not None
    assert excess.wait == pytest.approx(5)


def test_a_process_that_dies_with_the_lock_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "buckets"
    BucketFile(path).close()
    code = "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\nfcntl.lockf(fd, fcntl.LOCK_EX)\nos._exit(0)"
    run_python("-c", code, path)
    with BucketFile(path).lock() as is_locked:
        assert is_locked
    assert path.stat().st_size == FILE_BYTES


def test_the_lock_is_released_after_each_use(tmp_path: Path) -> None:
    path = tmp_path / "buckets"
    Meter(BucketFile(path), "crm", RateLimits(5, 5)).begin()
    code = (
        "import fcntl, os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"
        "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\nprint('free')"
    )
    assert run_python("-c", code, path).stdout.strip() == "free"


@pytest.mark.parametrize(
    ("limits", "quota", "wait", "policy", "state"),
    [
        (RateLimits(100, None), "requests", 0.004, '"requests";q=100;w=1', '"requests";r=0;t=1'),
        (RateLimits(0.25, None), "requests", 3.2, '"requests";q=1;w=4', '"requests";r=0;t=4'),
        (
            RateLimits(2, 5000),
            "customers",
            7.5,
            '"requests";q=2;w=1, "customers";q=5000;qu="customers";w=1',
            '"customers";r=0;t=8',
        ),
    ],
)
def test_the_response_says_what_is_allowed_and_when(
    limits: RateLimits, quota: str, wait: float, policy: str, state: str
) -> None:
    problem = rate_limited(Caller("crm", "crm", ("predict",)), buckets.Excess(quota, wait), limits)
    assert problem.status == 429
    assert problem.headers == {
        "Retry-After": state.rpartition("=")[2],
        "RateLimit-Policy": policy,
        "RateLimit": state,
    }
