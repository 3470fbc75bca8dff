"""The small rooms of training: golden rows, histograms, provenance, the proofs of export, warm start, the tutorial."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pytest
import tampering

from churn.bundle import read_bundle
from churn.columns import as_customers
from churn.errors import BundleError
from churn.feature import Feature
from churn.preprocessing import Preprocessor
from churn.schema import Schema
from churn.trust.relations import MAX_COVERED_LEVELS
from training import export, golden, histograms, provenance, publication, tutorial
from training.preprocess import PLAIN, Encoding, as_objects, fit_preprocessor, quiet_about_gaps, restore_transformer
from training.warm_start import load_earlier

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import Dataset

AGE = Feature("age", "integer")
CARD = Feature("card", "flag", nullable=True)
LAND = Feature("land", "category", categories=("x", "y", "z"))


# --- Golden rows -----------------------------------------------------------------------------------------------------


def test_golden_rows_are_drawn_column_by_column_so_that_no_row_is_a_customer(dataset: Dataset) -> None:
    rows = golden.draw_golden_rows(dataset.schema, dataset.raw, seed=3)
    assert rows.shape == (golden.ROWS, dataset.raw.shape[1])
    for position in range(rows.shape[1]):
        assert np.isin(rows[:, position], dataset.raw[:, position]).all() or np.isnan(rows[:, position]).any()
    customers = {tuple(row) for row in dataset.raw.tolist()}
    assert not customers & {tuple(row) for row in rows.tolist()}


def test_the_same_seed_draws_the_same_golden_rows(dataset: Dataset) -> None:
    first, again, other = (golden.draw_golden_rows(dataset.schema, dataset.raw, seed) for seed in (1, 1, 2))
    assert repr(first.tolist()) == repr(again.tolist()) != repr(other.tolist())


def test_golden_rows_have_every_level_of_a_category_and_a_gap_even_if_one_customer_has_it() -> None:
    many = Feature("many", "category", categories=tuple(f"level {number}" for number in range(50)), nullable=True)
    rare = Feature("rare", "category", categories=("usual", "rare", "never"))
    raw = np.column_stack([np.arange(1000) % 50, np.zeros(1000)]).astype(np.float64)
    raw[0] = np.nan, 1
    for seed in range(20):
        rows = golden.draw_golden_rows(Schema((many, rare), "left"), raw, seed)
        assert len(rows) == 51
        assert set(rows[:, 1]) == {0, 1, 2}
        assert set(rows[~np.isnan(rows[:, 0]), 0]) == set(range(50))
        assert np.isnan(rows[:, 0]).any()


def test_golden_rows_have_the_most_frequent_levels_of_a_category_of_thousands() -> None:
    large = Feature("large", "category", categories=tuple(map(str, range(5000))))
    column = np.concatenate([np.arange(5000), np.repeat(np.arange(4000, 4000 + MAX_COVERED_LEVELS), 3)])
    rows = golden.draw_golden_rows(Schema((large,), "left"), column[:, None].astype(np.float64), 0)
    assert rows.shape == (MAX_COVERED_LEVELS, 1)
    assert set(rows[:, 0]) == set(range(4000, 4000 + MAX_COVERED_LEVELS))


def test_golden_rows_are_kept_as_a_request_holds_them() -> None:
    schema = Schema((AGE, CARD, LAND, Feature("balance", "number")), "left")
    customers = as_customers(schema, np.array([[30, 1, 2, 0.5], [31, np.nan, 0, 7]]))
    assert json.dumps(customers) == json.dumps(
        [
            {"age": 30, "card": 1, "land": "z", "balance": 0.5},
            {"age": 31, "card": None, "land": "x", "balance": 7},
        ]
    )


# --- Histograms ------------------------------------------------------------------------------------------------------


def test_flags_and_categories_are_counted_by_value_and_gaps_apart() -> None:
    raw = np.array([[1, 0], [0, 2], [np.nan, 2], [1, 2]])
    assert histograms.count_features(Schema((CARD, LAND), "left"), raw) == {
        "card": {"values": ["0", "1"], "counts": [1, 2], "missing": 1},
        "land": {"values": ["x", "y", "z"], "counts": [1, 0, 3], "missing": 0},
    }


def test_quantities_are_counted_between_deciles() -> None:
    raw = np.append(np.arange(100.0), np.nan).reshape(-1, 1)
    found = histograms.count_features(Schema((AGE,), "left"), raw)["age"]
    assert found["edges"] == pytest.approx([9.9, 19.8, 29.7, 39.6, 49.5, 59.4, 69.3, 79.2, 89.1])
    assert found["counts"] == [10] * 10
    assert found["missing"] == 1


def test_a_value_on_an_edge_belongs_to_the_bin_above() -> None:
    found = histograms.count_features(Schema((AGE,), "left"), np.array([0.0] * 50 + [5.0] * 50).reshape(-1, 1))["age"]
    assert found == {"edges": [5.0], "counts": [50, 50], "missing": 0}


def test_a_quantity_without_a_value_has_no_edges() -> None:
    found = histograms.count_features(Schema((AGE,), "left"), np.full((3, 1), np.nan))
    assert found == {"age": {"edges": [], "counts": [0], "missing": 3}}


def test_scores_are_counted_in_twenty_bins() -> None:
    found = histograms.count_scores(np.array([0.0, 0.01, 0.05, 0.999, 1.0]))
    assert found["counts"] == [2, 1, *[0] * 17, 2]
    assert found["edges"] == pytest.approx([number / 20 for number in range(1, 20)])


# --- Provenance ------------------------------------------------------------------------------------------------------


def test_the_versions_of_all_libraries_are_kept() -> None:
    versions = provenance.library_versions()
    assert versions["keras"] == metadata.version("keras")
    assert versions["tensorflow"].startswith("2.")
    assert versions["python"].startswith("3.")
    assert {"numpy", "onnx", "onnxruntime", "scikit-learn"} <= set(versions)


def test_the_commit_is_named_and_whether_files_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_commit() is None

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603  git, in a folder of our own

    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", "code.py")
    git("commit", "-m", "first")
    git("tag", "v1")
    commit = git("rev-parse", "HEAD")
    assert provenance.git_commit() == commit
    (tmp_path / "code.py").write_text("2")
    assert provenance.git_commit() == f"{commit}-dirty"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_commit() is None


# --- What is proven before a version is published --------------------------------------------------------------------


def matrix_of(outcome: Any) -> Any:
    return outcome.trained.fitted.preprocessor.transform(outcome.trained.dataset.raw)


def test_a_preprocessor_that_differs_from_scikit_learns_is_not_published(outcome: Any) -> None:
    dataset, fitted = outcome.trained.dataset, outcome.trained.fitted
    objects = as_objects(dataset.schema, dataset.raw)
    assert export.verify_preprocessor(fitted.transformer, fitted.preprocessor, objects, dataset.raw) <= 1e-6
    data = fitted.preprocessor.to_dict()
    data["center"][0] += 1.0
    with pytest.raises(BundleError, match=r"preprocessor.joblib and the arrays in the manifest differ by"):
        export.verify_preprocessor(fitted.transformer, Preprocessor.from_dict(data), objects, dataset.raw)


class Shifted:
    """A transformer whose numbers are others than those of `transformer`."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def transform(self, objects: Any) -> Any:
        return self.transformer.transform(objects) + 1e-3


class WrittenOtherwise:
    """A transformer that is not read back as it is."""

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer

    def __reduce__(self) -> Any:
        return Shifted, (self.transformer,)

    def transform(self, objects: Any) -> Any:
        return self.transformer.transform(objects)


def test_the_bytes_of_the_transformer_are_compared_with_the_numbers_of_the_manifest(outcome: Any) -> None:
    trained, fitted = outcome.trained, outcome.trained.fitted
    data = publication._pack_transformer(trained)
    assert data == (outcome.folder / "preprocessor.joblib").read_bytes()
    other = replace(fitted, transformer=WrittenOtherwise(fitted.transformer))
    with pytest.raises(BundleError, match=r"preprocessor.joblib and the arrays in the manifest differ by"):
        publication._pack_transformer(replace(trained, fitted=other))


def test_the_export_says_nothing(outcome: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export.export_network(outcome.trained.fitted.result.model, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.keras", "model.onnx"]


def test_the_fitted_transformer_in_the_bundle_gives_the_networks_matrix(outcome: Any) -> None:
    dataset = outcome.trained.dataset
    transformer = joblib.load(outcome.folder / "preprocessor.joblib")
    with quiet_about_gaps():
        found = transformer.transform(as_objects(dataset.schema, dataset.raw))
    assert np.abs(found - matrix_of(outcome)).max() <= 1e-6


# --- Warm start ------------------------------------------------------------------------------------------------------


def test_an_earlier_version_is_loaded_with_its_weights_and_preprocessor(outcome: Any) -> None:
    earlier = load_earlier(outcome.folder, outcome.trained.dataset.schema, "default")
    fitted = outcome.trained.fitted
    for found, expected in zip(earlier.model.get_weights(), fitted.result.model.get_weights(), strict=True):
        assert np.array_equal(found, expected)
    assert earlier.preprocessor.to_dict() == fitted.preprocessor.to_dict()


def test_an_earlier_version_with_another_schema_is_refused(outcome: Any) -> None:
    schema = outcome.trained.dataset.schema
    for other in (
        replace(schema, features=schema.features[1:]),
        replace(schema, features=schema.features[::-1]),
        replace(schema, features=tuple(replace(feature, nullable=False) for feature in schema.features)),
    ):
        with pytest.raises(BundleError, match=r"models/1: no warm start: its columns \(CreditScore, Geography"):
            load_earlier(outcome.folder, other, "default")


def test_a_damaged_earlier_version_is_refused(own_models: Path, dataset: Dataset) -> None:
    tampering.flip_byte(own_models / "1" / "preprocessor.joblib", 100)
    with pytest.raises(BundleError, match=r"preprocessor.joblib: SHA-256 differs"):
        load_earlier(own_models / "1", dataset.schema, "default")


def test_the_transformer_of_an_earlier_version_is_restored_from_its_numbers(dataset: Dataset) -> None:
    transformer, preprocessor = fit_preprocessor(dataset.schema, dataset.raw[:500], PLAIN)
    restored = restore_transformer(dataset.schema, dataset.raw[500:], PLAIN, preprocessor)
    objects = as_objects(dataset.schema, dataset.raw)
    with quiet_about_gaps():
        assert np.array_equal(restored.transform(objects), transformer.transform(objects))
    other = fit_preprocessor(dataset.schema, dataset.raw, Encoding())[1]
    with pytest.raises(BundleError, match="no warm start: the columns of its preprocessor are not those"):
        restore_transformer(dataset.schema, dataset.raw, PLAIN, other)


# --- The tutorial's words --------------------------------------------------------------------------------------------


def test_the_tutorials_words_are_its_scores_and_its_customer(outcome: Any) -> None:
    words = tutorial.summarize(outcome.trained.dataset, outcome)
    scores = outcome.scores["test"]
    (a, b), (c, d) = scores.confusion_matrix
    assert "reports an accuracy of 85.8 %" in words
    assert f"loss {scores.log_loss:.4f}, accuracy {scores.accuracy:.4f}" in words
    assert f"[[{a:>4} {b:>4}]\n [{c:>4} {d:>4}]]" in words
    assert f"accuracy from the confusion matrix: {(a + d) / (a + b + c + d):.4f}" in words
    assert "the tutorial's customer leaves with probability 0." in words


def test_the_tutorials_customer_is_the_tutorials() -> None:
    assert tutorial.CUSTOMER == {
        "Geography": "Spain", "CreditScore": 500, "Gender": "Female", "Age": 40, "Tenure": 3, "Balance": 50_000,
        "NumOfProducts": 2, "HasCrCard": 1, "IsActiveMember": 1, "EstimatedSalary": 40_000,
    }  # fmt: skip


def test_a_table_that_does_not_know_the_tutorials_customer_gets_the_scores_alone(outcome: Any) -> None:
    schema = outcome.trained.dataset.schema
    no_spain = replace(
        schema,
        features=tuple(
            replace(feature, categories=("France", "Germany")) if feature.name == "Geography" else feature
            for feature in schema.features
        ),
    )
    words = tutorial.summarize(replace(outcome.trained.dataset, schema=no_spain), outcome)
    assert words.endswith(
        "the tutorial's customer can't be scored: customer 0: Geography is an unknown category: sent 'Spain', "
        "allowed: one of France, Germany, or null"
    )
    fewer = replace(schema, features=schema.features[1:])
    assert "customer" not in tutorial.summarize(replace(outcome.trained.dataset, schema=fewer), outcome)


def test_a_bundle_keeps_the_training_datas_fingerprint(models: Path, bank_csv: Path) -> None:
    import hashlib

    content = read_bundle(models / "1").manifest.content
    assert content["data"]["sha256"] == hashlib.sha256(bank_csv.read_bytes()).hexdigest()
    assert content["data"]["file"] == "bank.csv"
    assert content["seed"] == 0
    assert content["network"]["name"] == "default"
    assert set(content["metrics"]) == {"train", "validation", "test"}
    assert set(content["histograms"]) == set(read_bundle(models / "1").manifest.schema.names)


def test_a_start_from_another_network_is_refused(own_models: Path, dataset: Dataset) -> None:
    with pytest.raises(BundleError, match="contains the default network, but reference is trained"):
        load_earlier(own_models / "1", dataset.schema, "reference")
