from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quick import make_options

from churn.bundle import read_bundle
from churn.errors import EngineError, InvalidCustomersError
from churn.scorer import Scorer, load_scorer

if TYPE_CHECKING:
    from pathlib import Path


class FixedEngine:
    """Says what it is told, whoever the customers are."""

    name = "fixed"
    device = "none"
    width: int | None = None

    def __init__(self, *answers: float) -> None:
        self.answers = np.array(answers, dtype=np.float32)

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        assert len(matrix) in (len(self.answers), 1)
        return self.answers[: len(matrix)]


@pytest.fixture
def fixed(models: Path) -> Any:
    bundle = read_bundle(models / "1")

    def make(*answers: float, threshold: float = 0.5) -> Scorer:
        manifest = replace(bundle.manifest, threshold=threshold)
        return Scorer(replace(bundle, manifest=manifest), FixedEngine(*answers))

    return make


@pytest.fixture(params=["onnx", "tensorflow"])
def scorer(request: pytest.FixtureRequest, scorers: dict[str, Scorer]) -> Scorer:
    return scorers[request.param]


def test_the_probability_is_rounded_before_the_strict_threshold_rule(fixed: Any) -> None:
    scorer = fixed(0.5000004, 0.5, 0.4999996, 0.5000006, 0.49)
    raw = np.zeros((5, len(scorer.schema.features)))
    probabilities = scorer.score_raw(raw)
    assert probabilities.tolist() == [0.5, 0.5, 0.5, 0.500001, 0.49]
    assert scorer.decide(probabilities).tolist() == [False, False, False, True, False]


def test_the_bundles_own_threshold_decides(fixed: Any) -> None:
    scorer = fixed(0.2, 0.200001, threshold=0.2)
    assert scorer.decide(scorer.score_raw(np.zeros((2, len(scorer.schema.features))))).tolist() == [False, True]


@given(st.floats(0, 1, width=32))
def test_a_customer_alone_is_rounded_as_in_a_batch(models: Path, answer: float) -> None:
    scorer = Scorer(read_bundle(models / "1"), FixedEngine(answer))
    row = [0.0] * len(scorer.schema.features)
    assert scorer.score_row(row) == scorer.score_raw(np.array([row]))[0]


def test_a_customer_scores_the_same_alone_as_a_row_and_in_a_batch(
    scorer: Scorer, dataset: Any, columns: dict[str, list[Any]]
) -> None:
    batch = scorer.score(columns)
    for row in (0, 17, 999):
        alone = scorer.score({name: values[row : row + 1] for name, values in columns.items()})[0]
        assert alone == pytest.approx(batch[row], abs=1e-6)
        assert scorer.score_row(dataset.raw[row].tolist()) == pytest.approx(batch[row], abs=1e-6)


def test_columns_come_in_any_order_and_others_are_ignored(scorer: Scorer, columns: dict[str, list[Any]]) -> None:
    expected = scorer.score(columns)
    shuffled = dict(reversed(columns.items())) | {"Surname": ["?"] * len(expected)}
    assert scorer.score(shuffled).tolist() == expected.tolist()


def test_no_customers_get_no_probabilities(scorer: Scorer) -> None:
    assert scorer.score({name: [] for name in scorer.schema.names}).shape == (0,)


def test_a_value_that_can_not_be_scored_is_refused(scorer: Scorer, columns: dict[str, list[Any]]) -> None:
    with pytest.raises(InvalidCustomersError, match="customer 2: Age is missing"):
        scorer.score(columns | {"Age": [30, 30, None, *columns["Age"][3:]]})


def test_a_network_that_can_not_be_run_is_refused_in_one_line(models: Path) -> None:
    class Failing(FixedEngine):
        def predict(self, _: Any) -> Any:
            raise RuntimeError("first line\nsecond line")

    scorer = Scorer(read_bundle(models / "1"), Failing(0.5))
    with pytest.raises(EngineError, match=r"^the fixed engine can't run the network: first line second line$"):
        scorer.check_golden_rows()


def test_golden_rows_that_score_nan_are_refused(fixed: Any, models: Path) -> None:
    golden = read_bundle(models / "1").manifest.golden
    with pytest.raises(Exception, match="golden row 3 scores nan with the fixed engine"):
        fixed(*[np.nan if row == 3 else probability for row, (_, probability) in enumerate(golden)]).check_golden_rows()


def test_a_scorer_says_which_version_it_is(scorer: Scorer) -> None:
    assert scorer.version == "1"
    assert scorer.threshold == 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("quick", "without_pictures")
def test_engines_and_oracle_agree_on_all_customers_of_the_public_table(
    public_table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import keras

    from training import job
    from training.dataset import load_dataset

    dataset = load_dataset(public_table)
    folder = job.train(dataset, tmp_path / "models", make_options()).folder
    onnx, tensorflow = (load_scorer(folder, engine) for engine in ("onnx", "tensorflow"))
    model = keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
    matrix = onnx.manifest.preprocessor.transform(dataset.raw)
    assert len(matrix) == 10_000
    by_hand, by_onnx, by_tensorflow = (
        oracle.predict(model, matrix),
        onnx.predict(dataset.raw),
        tensorflow.predict(dataset.raw),
    )
    differences = {
        "ONNX Runtime and TensorFlow": np.abs(by_onnx - by_tensorflow).max(),
        "ONNX Runtime and the oracle": np.abs(by_onnx - by_hand).max(),
        "TensorFlow and the oracle": np.abs(by_tensorflow - by_hand).max(),
    }
    with capsys.disabled():
        for pair, difference in differences.items():
            sys.stdout.write(f"\n{pair} differ by {difference:.1e} at most on 10,000 customers")
    assert max(differences.values()) <= 1e-6
