"""Relations between the entries of a manifest: what each of them says about the columns of the schema."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from churn.errors import BundleError
from churn.feature import InvalidValueError

MAX_COVERED_LEVELS = 64
"""Golden rows have every level of a category of at most so many, and this number of levels of a larger one: each level
takes a row, and categories of thousands of levels are pooled or encoded by statistics, which these rows cover."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from churn.feature import Feature
    from churn.schema import Schema


def check_relations(schema: Schema, content: Mapping[str, Any]) -> None:
    """Check the histograms, golden rows and preprocessing of a decoded manifest against its schema.

    Parameters
    ----------
    schema : Schema
        The schema of the manifest.
    content : mapping
        Result of `churn.trust.manifest.decode_manifest`.

    Raises
    ------
    BundleError
        If an entry contradicts the schema; the message names it.
    """
    _check_histograms(schema, content)
    _check_golden_rows(schema, content["golden"])
    _check_preprocessing(schema, content["preprocessing"])


def _check_histograms(schema: Schema, content: Mapping[str, Any]) -> None:
    histograms = content["histograms"]
    _check_names("histograms", histograms, schema)
    for feature in schema.features:
        where = f"histograms.{feature.name}"
        _check_bins(where, histograms[feature.name], quantities=feature.is_quantity)
        levels = feature.levels or ("0", "1")
        if unknown := [value for value in histograms[feature.name].get("values", []) if value not in levels]:
            raise BundleError(f"{where}.values: {unknown[0]!r} is not a level of {feature.name}")
    _check_bins("score_histogram", content["score_histogram"], quantities=True)


def _check_bins(where: str, histogram: Mapping[str, Any], *, quantities: bool) -> None:
    wanted, other = ("edges", "values") if quantities else ("values", "edges")
    if wanted not in histogram or other in histogram:
        raise BundleError(f"{where}: must have {wanted}, and not {other}")
    bins = len(histogram["edges"]) + 1 if quantities else len(histogram["values"])
    if len(histogram["counts"]) != bins:
        raise BundleError(f"{where}: has {len(histogram['counts'])} counts for {bins} bins")
    if quantities and any(a >= b for a, b in pairwise(histogram["edges"])):
        raise BundleError(f"{where}.edges: must ascend")


def _check_golden_rows(schema: Schema, golden: list[dict[str, Any]]) -> None:
    for row, entry in enumerate(golden):
        where = f"golden[{row}].customer"
        customer = entry["customer"]
        _check_names(where, customer, schema)
        for feature in schema.features:
            try:
                feature.encode(customer[feature.name])
            except InvalidValueError as error:
                raise BundleError(f"{where}: {feature.name} {error}") from error

    for feature in schema.features:
        found = {feature.encode(entry["customer"][feature.name]) for entry in golden} & {*range(len(feature.levels))}
        if (needed := min(len(feature.levels), MAX_COVERED_LEVELS)) > len(found):
            absent = next(level for code, level in enumerate(feature.levels) if code not in found)
            raise BundleError(
                f"golden: the rows have {len(found)} of the {len(feature.levels)} levels of {feature.name}, and not "
                f"{absent!r}; allowed: at least {needed}"
            )


def _check_names(where: str, found: Mapping[str, Any], schema: Schema) -> None:
    absent = [name for name in schema.names if name not in found]
    unknown = [name for name in found if name not in schema.names]
    if absent or unknown:
        words = [f"lacks {', '.join(absent)}"] * bool(absent) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise BundleError(f"{where}: {' and '.join(words)}; allowed are the features of the schema")


def _check_preprocessing(schema: Schema, form: Mapping[str, Any]) -> None:
    features = schema.features
    parts, levels = form.get("parts", []), form.get("levels", [])
    sources = {
        **{key: form[key] for key in ("value_source", "equal_source", "missing_source")},
        "parts": [part["source"] for part in parts],
        "levels": [level["source"] for level in levels],
    }
    for key, positions in sources.items():
        if wrong := [position for position in positions if position >= len(features)]:
            raise BundleError(
                f"preprocessing.{key}: column {wrong[0]} does not exist; allowed: 0 to {len(features) - 1}"
            )
    _check_kinds("value_source", (features[i] for i in form["value_source"]), ("number", "integer", "flag", "date"))
    _check_kinds("parts", (features[i] for i in sources["parts"]), ("date",))
    _check_kinds("levels", (features[i] for i in sources["levels"]), ("category",))
    for level in levels:
        feature = features[level["source"]]
        if len(level["numbers"]) != len(feature.levels) + 1:
            raise BundleError(
                f"preprocessing.levels: {feature.name} has {len(level['numbers'])} numbers; allowed: one for each of "
                f"its {len(feature.levels)} levels, and one more"
            )


def _check_kinds(key: str, features: Iterable[Feature], allowed: tuple[str, ...]) -> None:
    for feature in features:
        if feature.kind not in allowed:
            raise BundleError(
                f"preprocessing.{key}: {feature.name} is of kind {feature.kind}; allowed: {', '.join(allowed)}"
            )
