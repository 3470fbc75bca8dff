"""The offline jobs' images: draw customers, train on them, serve and score with what was trained."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from engine import Engine

pytestmark = [pytest.mark.containers, pytest.mark.slow]

ROWS = 2000
WHOLE = ("CreditScore", "Age", "Tenure", "NumOfProducts", "HasCrCard", "IsActiveMember")
FEATURES = (*WHOLE, "Geography", "Gender", "Balance", "EstimatedSalary")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the host, which the containers' user may write."""
    root = tmp_path_factory.mktemp("volumes")
    found = {name: root / name for name in ("data", "models")}
    for folder in found.values():
        folder.mkdir()
        folder.chmod(0o777)
    return found


@pytest.fixture(scope="module")
def trained(engine: Engine, images: dict[str, str], folders: dict[str, Path]) -> dict[str, Path]:
    """Simulated customers and a network trained on them, both by the image train."""
    if not {"cpu", "batch", "train"} <= set(images):
        pytest.skip("CHURN_TEST_TARGETS leaves a target out")
    volumes = (f"--volume={folders['data']}:/data", f"--volume={folders['models']}:/models")
    done = engine.do(images["train"], "simulate", "--rows", ROWS, "customers.csv", flags=volumes)
    assert done.returncode == 0, done.stderr
    read_only = (f"--volume={folders['data']}:/data:ro", volumes[1])
    done = engine.do(images["train"], "train", "customers.csv", "--quick", flags=read_only)
    assert done.returncode == 0, done.stdout + done.stderr
    return folders


def test_what_was_trained_is_served(engine: Engine, images: dict[str, str], trained: dict[str, Path]) -> None:
    customers = read(trained["data"] / "customers.csv")[:5]
    with engine.start(images["cpu"], f"--volume={trained['models']}:/models:ro") as container:
        container.wait_until_healthy()
        status, answer = container.ask("/predict", {"customers": [to_json(customer) for customer in customers]})
        assert container.stop() == 0
    assert status == 200
    served = json.loads(answer)
    assert served["model_version"] == "1"

    volumes = (f"--volume={trained['data']}:/data", f"--volume={trained['models']}:/models:ro")
    done = engine.do(images["batch"], "score", "customers.csv", "--output", "scores.csv", flags=volumes)
    assert done.returncode == 0, done.stderr
    scores = read(trained["data"] / "scores.csv")
    assert len(scores) == ROWS
    assert [float(one["probability"]) for one in scores[:5]] == pytest.approx(
        [one["probability"] for one in served["predictions"]], abs=2e-6
    )


def test_parquet_is_read_and_written(engine: Engine, images: dict[str, str], trained: dict[str, Path]) -> None:
    volumes = (f"--volume={trained['data']}:/data", f"--volume={trained['models']}:/models:ro")
    for image, command in (
        ("train", ["simulate", "--rows", 100, "customers.parquet"]),
        ("batch", ["score", "customers.parquet", "--output", "scores.parquet"]),
    ):
        done = engine.do(images[image], *command, flags=volumes)
        assert done.returncode == 0, done.stderr
    assert (trained["data"] / "scores.parquet").read_bytes()[:4] == b"PAR1"


def test_a_table_that_is_refused_leaves_nothing(
    engine: Engine, images: dict[str, str], trained: dict[str, Path]
) -> None:
    (trained["data"] / "bad.csv").write_text("Age,Exited\nold,1\n", encoding="utf-8")
    volumes = (f"--volume={trained['data']}:/data:ro", f"--volume={trained['models']}:/models")
    done = engine.do(images["train"], "train", "bad.csv", flags=volumes)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert sorted(path.name for path in trained["models"].iterdir() if path.is_dir()) == ["1"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def to_json(customer: dict[str, str]) -> dict[str, object]:
    """Return a customer as the service wants one."""
    return {name: int(customer[name]) if name in WHOLE else _number_or_text(customer[name]) for name in FEATURES}


def _number_or_text(text: str) -> float | str:
    return float(text) if text[:1].isdigit() else text
