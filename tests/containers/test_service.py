"""The service's image at work: as a user without rights, on a root it can't write, without a network."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
from bank import REPOSITORY
from engine import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine import Container, Engine

pytestmark = [pytest.mark.containers, pytest.mark.slow]

REQUEST, ANSWER = re.findall(r"-d '(\{.*\})'\n(\{.*\})\n", (REPOSITORY / "README.md").read_text(encoding="utf-8"))[0]


@pytest.fixture(scope="module")
def container(engine: Engine, images: dict[str, str]) -> Iterator[Container]:
    with engine.start(images["cpu"], "--memory=1g", "--cpus=2") as container:
        container.wait_until_healthy()
        yield container


def test_it_scores_as_the_readme_says(container: Container) -> None:
    status, answer = container.ask("/predict", json.loads(REQUEST))
    assert status == 200
    found, shown = json.loads(answer), json.loads(ANSWER)
    assert found.pop("probability") == pytest.approx(shown.pop("probability"), abs=2e-6)
    assert found == shown


def test_it_takes_as_many_workers_as_it_may_use_processors(container: Container) -> None:
    _, metrics = container.ask("/metrics")
    assert "churn_workers 2.0" in metrics
    assert 'engine="onnx"' in metrics


def test_it_is_nobody_and_can_write_nowhere_but_where_it_must(container: Container) -> None:
    assert container.do("id", "-u").stdout.strip() == USER
    for path in ("/app/service/new", "/opt/churn/new", "/models/new", "/new"):
        done = container.do("touch", path)
        assert done.returncode, path
        assert "Read-only file system" in done.stderr
    assert container.do("touch", "/tmp/new").returncode == 0  # noqa: S108  in the container


def test_no_library_leaves_a_file_of_its_own(container: Container) -> None:
    # ONNX Runtime's telemetry would; see churn/engines.py.
    found = container.do("find", "/tmp", "-mindepth", "1", "-name", ".*").stdout  # noqa: S108  in the container
    assert found == ""


def test_its_log_is_json_and_says_what_it_computes_on(container: Container) -> None:
    lines = [json.loads(line) for line in container.logs().splitlines() if line.startswith("{")]
    assert any("devices: CPUs: 2; GPUs: none" in line["event"] for line in lines)


def test_at_sigterm_it_turns_unready_still_answers_and_ends_in_order(engine: Engine, images: dict[str, str]) -> None:
    with engine.start(images["cpu"], "--env=CHURN_DRAIN_SECONDS=4", "--cpus=2") as container:
        container.wait_until_healthy()
        container.signal("SIGTERM")
        end = time.monotonic() + 2
        while container.ask("/health/ready")[0] == 200:
            assert time.monotonic() < end, "it did not turn unready"
        assert container.ask("/predict", json.loads(REQUEST))[0] == 200
        assert container.wait() == 0
        assert "the service has stopped" in container.logs()


def test_docker_stop_ends_it_in_order(engine: Engine, images: dict[str, str]) -> None:
    with engine.start(images["cpu"]) as container:
        container.wait_until_healthy()
        began = time.monotonic()
        assert container.stop() == 0
        assert time.monotonic() - began < 10, "it was killed"


def test_process_1_hears_a_signal_while_it_starts(engine: Engine, images: dict[str, str]) -> None:
    with engine.start(images["cpu"]) as container:
        time.sleep(0.3)
        assert container.stop() in {0, 130}


def test_without_keys_it_does_not_start(engine: Engine, images: dict[str, str]) -> None:
    done = engine.do(images["cpu"])
    assert done.returncode == 1
    assert "refusing to listen on 0.0.0.0 without authentication" in done.stderr
    assert "CHURN_AUTH=none" in done.stderr


def test_without_the_gpu_it_must_have_it_does_not_start(engine: Engine, images: dict[str, str]) -> None:
    done = engine.do(images["cpu"], flags=("--env=CHURN_REQUIRE_GPU=true",))
    assert done.returncode == 1
    assert "CHURN_REQUIRE_GPU is set, but no GPU can be used" in done.stderr
    assert "/dev/nvidiactl" in done.stderr


def test_its_page_is_in_it(container: Container) -> None:
    status, page = container.ask("/")
    assert status == 200
    files = set(re.findall(r'(?:src|href)="([^"]+)"', page))
    assert len(files) > 2
    for file in files:
        assert container.ask(urljoin("/", file))[0] == 200, file


def test_it_keeps_records_in_its_volume(engine: Engine, images: dict[str, str]) -> None:
    settings = (
        "--env=CHURN_RECORDS=sqlite:////records/records.db",
        "--env=CHURN_RECORDS_MODE=durable",
        "--mount=type=volume,destination=/records",  # anonymous: removed with the container
        "--cpus=2",
    )
    with engine.start(images["cpu"], *settings) as container:
        container.wait_until_healthy()
        status, answer = container.ask("/predict", {**json.loads(REQUEST), "CustomerId": 15634602})
        assert status == 200, answer
        shown = container.do("churn", "records", "show", "--customer", "15634602", "--json")
        assert shown.returncode == 0, shown.stderr
        assert json.loads(answer)["probability"] == json.loads(shown.stdout.splitlines()[0])["probability"]
        verified = container.do("churn", "records", "verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
