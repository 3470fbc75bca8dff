"""Manifests whose digest is right and whose content is not: each is refused with its entry, or the model is whole."""

from __future__ import annotations

import copy
import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import REPOSITORY
from mutating import WRONG, find_entries
from tampering import sign

from churn.bundle import MANIFEST, MAX_MANIFEST_BYTES, read_bundle
from churn.drift import Drift
from churn.errors import BundleError, ChurnError
from churn.feature import Feature
from churn.schema import Schema
from churn.scorer import load_scorer
from churn.trust import relations
from churn.trust.manifest import decode_manifest
from churn.trust.relations import MAX_COVERED_LEVELS
from service.observe.metrics import Metrics
from service.predict.served_model import ServedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODEL = REPOSITORY / "models" / "1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(MODEL, tmp_path / "1")


@pytest.fixture
def content() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((MODEL / MANIFEST).read_text(encoding="utf-8"))
    return whole


def set_entry(*path: Any, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_entry("threshold", value="0.9"), "threshold: expected float, got str"),
        (set_entry("threshold", value=1.01), r"threshold: expected float <= 1.0"),
        (set_entry("threshold", value=True), "threshold: expected float, got bool"),
        (set_entry("version", value=0), "version: expected int >= 1"),
        (set_entry("histograms", "Age", "counts", 0, value=-1), r"histograms.Age.counts\[0\]: expected int >= 0"),
        (set_entry("histograms", "Age", "counts", value=[1]), "histograms.Age: has 1 counts for 10 bins"),
        (set_entry("histograms", "Age", "edges", 0, value=1e9), "histograms.Age.edges: must ascend"),
        (set_entry("histograms", "Age", value={"values": ["1"], "counts": [1]}), "must have edges, and not values"),
        (set_entry("histograms", "Gender", "values", 0, value="?"), r"Gender.values: '\?' is not a level of Gender"),
        (set_entry("histograms", "More", value={"edges": [], "counts": [1]}), "histograms: has unknown More"),
        (lambda c: c["histograms"].pop("Age"), "histograms: lacks Age; allowed are the features of the schema"),
        (set_entry("files", "model.onnx", "sha256", value="0"), "files.model.onnx.sha256: expected str matching"),
        (set_entry("files", "../x", value={"sha256": "1" * 64, "bytes": 0}), "files: '../x' is not the name of a file"),
        (set_entry("golden", 3, "probability", value=2), r"golden\[3\].probability: expected float <= 1.0"),
        (set_entry("golden", 3, "customer", "Age", value="old"), r"golden\[3\].customer: Age is not a number"),
        (lambda c: c["golden"][3]["customer"].pop("Age"), r"golden\[3\].customer: lacks Age"),
        (set_entry("preprocessing", "value_source", 0, value=10), "column 10 does not exist; allowed: 0 to 9"),
        (set_entry("preprocessing", "value_source", 0, value=1), "value_source: Geography is of kind category; allow"),
        (set_entry("preprocessing", "scale", 0, value=0), r"preprocessing.scale\[0\]: expected float > 1e-30"),
        (set_entry("preprocessing", "center", 0, value=None), r"preprocessing.center\[0\]: expected float, got null"),
        (set_entry("preprocessing", "more", value=[]), "preprocessing: contains unknown field more"),
        (
            set_entry("preprocessing", "parts", value=[{"source": 3, "part": "month", "fill": 1}]),
            "preprocessing.parts: Age is of kind integer; allowed: date",
        ),
        (
            set_entry("preprocessing", "levels", value=[{"source": 1, "fold": 0, "numbers": [1.0]}]),
            "Geography has 1 numbers; allowed: one for each of its 3 levels, and one more",
        ),
        (set_entry("network", "name", value=1), "network.name: expected str, got int"),
        (set_entry("libraries", "keras", value=3), r"libraries\[\.\.\.\]: expected str, got int"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused_by_its_name(
    folder: Path, content: dict[str, Any], change: Callable[[dict[str, Any]], None], message: str
) -> None:
    change(content)
    sign(folder, content)
    with pytest.raises(BundleError, match=rf"1/manifest.json: .*{message}"):
        read_bundle(folder)


def test_the_golden_rows_must_have_every_level_of_a_category(folder: Path, content: dict[str, Any]) -> None:
    for row in content["golden"]:
        if row["customer"]["Geography"] == "Spain":
            row["customer"]["Geography"] = "France"
    sign(folder, content)
    says = "golden: the rows have 2 of the 3 levels of Geography, and not 'Spain'; allowed: at least 3"
    with pytest.raises(BundleError, match=rf"1/manifest.json: {says}"):
        read_bundle(folder)


def test_of_a_category_of_many_levels_the_golden_rows_have_a_part() -> None:
    large = Feature("large", "category", categories=tuple(map(str, range(1000))))
    rows: list[dict[str, Any]] = [{"customer": {"large": str(level)}} for level in range(MAX_COVERED_LEVELS)]
    relations._check_golden_rows(Schema((large,), "left"), rows)
    with pytest.raises(BundleError, match=r"have 63 of the 1000 levels of large, and not '0'; allowed: at least 64"):
        relations._check_golden_rows(Schema((large,), "left"), rows[1:])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(content: dict[str, Any], number: str) -> None:
    content["threshold"] = 0.123456
    text = json.dumps(content).replace("0.123456", number)
    with pytest.raises(BundleError, match="is not valid JSON"):
        decode_manifest(text.encode())


def test_a_manifest_that_is_nested_too_deeply_is_refused(content: dict[str, Any]) -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    text = json.dumps({**content, "data": {"x": "HERE"}})
    for _ in range(3):
        text = text.replace('"HERE"', json.dumps(deep).replace("[]", '["HERE"]'))
    with pytest.raises(BundleError, match="is nested too deeply"):
        decode_manifest(text.encode())


def test_a_manifest_that_is_too_large_is_not_read(folder: Path) -> None:
    with (folder / MANIFEST).open("ab") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match=r"has 67,108,865 bytes; allowed: at most 67,108,864"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "report.html", MANIFEST])
def test_a_link_is_not_followed(folder: Path, name: str) -> None:
    (folder / name).rename(folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")
    with pytest.raises(BundleError, match=rf"1/{name}: is not a regular file; copy the file into the folder"):
        read_bundle(folder)


def test_a_preprocessor_of_another_width_is_refused_before_the_network_runs(
    folder: Path, content: dict[str, Any]
) -> None:
    form = content["preprocessing"]
    for key in ("value_source", "value_fill", "value_spike", "spike_fill", "center", "scale", "names"):
        form[key] = [form[key][0], *form[key]]
    sign(folder, content)
    with pytest.raises(BundleError, match="the network takes 12 inputs, but the preprocessing makes 13"):
        load_scorer(folder, "onnx")


def test_whatever_is_changed_is_refused_or_the_model_scores_as_before(folder: Path, content: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)

    def choose(options: list[Any]) -> Any:
        return options[generator.integers(len(options))]

    top = list(content)
    by_top: dict[Any, list[tuple[Any, ...]]] = {key: [] for key in top}
    for path in find_entries(content):
        by_top[path[0]].append(path)
    customer = content["golden"][0]["customer"]
    expected = content["golden"][0]["probability"]
    messages, served = [], 0
    for _ in range(200):
        changed = copy.deepcopy(content)
        path = choose(by_top[choose(top)])
        if generator.random() < 0.2:
            target: Any = changed
            for key in path[:-1]:
                target = target[key]
            del target[path[-1]]
        else:
            set_entry(*path, value=choose(WRONG))(changed)
        sign(folder, changed)
        try:
            scorer = load_scorer(folder, "onnx")
        except ChurnError as error:
            messages.append(str(error))
            continue
        model = ServedModel.of(scorer, 10, Metrics())
        Drift(scorer.manifest).count(np.zeros((1, len(scorer.schema.features))))
        assert 0 <= model.scorer.threshold <= 1
        if set(scorer.schema.names) == set(customer):
            found = scorer.score({name: [value] for name, value in customer.items()})
            assert found[0] == pytest.approx(expected, abs=2e-5), path
        served += 1
    assert served > 20
    assert len(messages) > 20
    assert not any("\n" in message for message in messages)
