"""What of prometheus_client is private and yet relied on. If one of these fails after an update of that package, the
part that its message names has changed: mend service/observe/prometheus_internals.py, then raise the upper bound."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import re
import tomllib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import prometheus_client
import pytest
from bank import REPOSITORY
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from waiting import DEADLINE, wait_until

from service.observe.prometheus_internals import FastHistogram, WorkersCollector

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event
    from pathlib import Path

CHANGED = "prometheus_client " + version("prometheus_client") + " has changed: {}"
BUCKETS = (0.1, 0.5, 1.0)


def test_the_version_is_bounded_from_above_and_installed_within() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (requirement,) = (name for name in project["dependencies"] if name.startswith("prometheus-client"))
    bound = re.search(r"<(\d+)\.(\d+)$", requirement)
    assert bound, f"{requirement} has no upper bound"
    assert tuple(map(int, version("prometheus_client").split(".")[:2])) < tuple(map(int, bound.groups()))


def test_private_parts_are_used_in_one_file() -> None:
    private = re.compile(r"\b_metric_init\b|\._upper_bounds\b|self\._buckets\b|MmapedDict|\bMultiProcessCollector\b")
    found = [path.name for path in (REPOSITORY / "service").rglob("*.py") if private.search(path.read_text())]
    assert found == ["prometheus_internals.py"]


def test_a_histogram_has_the_parts_that_are_used() -> None:
    histogram = Histogram("x", "x", buckets=BUCKETS, registry=None)
    assert callable(getattr(histogram, "_metric_init", None)), CHANGED.format("Histogram._metric_init is gone")
    bounds = getattr(histogram, "_upper_bounds", None)
    assert bounds == [*BUCKETS, float("inf")], CHANGED.format(f"Histogram._upper_bounds is {bounds}")
    buckets = getattr(histogram, "_buckets", ())
    assert len(buckets) == len(bounds), CHANGED.format("Histogram._buckets has not one value a bucket")
    for value in (*buckets, getattr(histogram, "_sum", None)):
        assert callable(getattr(value, "inc", None)), CHANGED.format("Histogram._buckets and ._sum have no inc()")


@pytest.mark.parametrize("labelled", [False, True])
def test_a_fast_histogram_counts_as_its_parent_does(labelled: bool) -> None:
    values = np.append(np.random.default_rng(1).random(1000), [-1.0, 0.0, 7.0, *BUCKETS])

    def read(kind: Any, *, at_once: bool) -> list[object]:
        registry = CollectorRegistry()
        names = ("stage",) if labelled else ()
        whole = kind("x", "x", names, buckets=BUCKETS, registry=registry)
        histogram = whole.labels("parse") if labelled else whole
        if at_once:
            histogram.observe_many(values)
        else:
            for value in values:
                histogram.observe(value)
        return [(s.name, s.labels, pytest.approx(s.value)) for m in registry.collect() for s in m.samples
                if not s.name.endswith("_created")]  # fmt: skip

    expected = read(Histogram, at_once=False)
    assert read(FastHistogram, at_once=False) == expected, CHANGED.format("Histogram.observe counts otherwise")
    assert read(FastHistogram, at_once=True) == expected, CHANGED.format("Histogram.observe counts otherwise")


def make_files(folder: Path) -> None:
    for pid, value in ((1, 2.0), (2, 3.0)):
        for kind, name in (("counter", "churn_a_total"), ("gauge_livesum", "churn_b")):
            file = MmapedDict(str(folder / f"{kind}_{pid}.db"))
            file.write_value(json.dumps(["churn_a" if kind == "counter" else name, name, {}, "Help."]), value, 0.0)
            file.close()


def test_workers_are_summed_while_one_of_them_starts(tmp_path: Path) -> None:
    make_files(tmp_path)
    (tmp_path / "counter_3.db").touch()  # as open(…, "a+b") leaves it until it is given its size
    collector = WorkersCollector(None, str(tmp_path))
    assert getattr(collector, "_path", None) == str(tmp_path), CHANGED.format("MultiProcessCollector._path is gone")
    assert callable(getattr(MultiProcessCollector, "merge", None)), CHANGED.format(
        "MultiProcessCollector.merge is gone"
    )
    found = {sample.name: sample.value for metric in collector.collect() for sample in metric.samples}
    assert found == {"churn_a_total": 5.0, "churn_b": 5.0}, CHANGED.format("the files of its multiprocess mode")


def _start_and_end(folder: str, stop: Event) -> None:
    """Make and remove a worker's files of gauges, as starts and ends of workers do."""
    for first in itertools.count(step=100):
        for pid in range(first, first + 100):
            MmapedDict(f"{folder}/gauge_livesum_{pid}.db").close()
        for pid in range(first, first + 100):
            os.remove(f"{folder}/gauge_livesum_{pid}.db")  # noqa: PTH107
        if stop.is_set():
            break


def test_a_scrape_never_fails_because_workers_start_and_end(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    other = context.Process(target=_start_and_end, args=(str(tmp_path), stop))
    other.start()
    wait_until(lambda: any(tmp_path.iterdir()))
    registry = CollectorRegistry()
    WorkersCollector(registry, str(tmp_path))
    for _ in range(300):
        prometheus_client.generate_latest(registry)
    stop.set()
    other.join(DEADLINE)
    assert other.exitcode == 0
