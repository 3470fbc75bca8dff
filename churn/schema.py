"""The schema: names, kinds and allowed values of a customer's columns.

Request models, file readers, the preprocessor and the histograms are derived from a `Schema`; no code names a column.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from churn.errors import SchemaError
from churn.feature import BOUNDS, KINDS, Feature
from churn.names import find_alike, find_fault, normalize, shorten


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one model, in the order of the raw matrix.

    Attributes
    ----------
    features : tuple of Feature
        Input columns.
    label : str
        Label column of the training table, e.g. ``"Exited"``.
    identifier : str
        Column that identifies a customer; not a feature, returned with the scores.

    Raises
    ------
    SchemaError
        If there is no feature, or a name is not allowed (`churn.names.find_fault`), or names are equal or differ only
        in case.
    """

    features: tuple[Feature, ...]
    label: str
    identifier: str = "CustomerId"

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a schema needs at least one feature")
        object.__setattr__(self, "label", normalize(self.label))
        object.__setattr__(self, "identifier", normalize(self.identifier))
        for name, role in ((self.label, "label"), (self.identifier, "identifier")):
            if fault := find_fault(name, role):  # type: ignore[arg-type]
                raise SchemaError(f"the {role} can't be named {shorten(name)}: {fault}; rename the column")
        names = [*self.names, self.label, self.identifier]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SchemaError(f"names used twice among features, label and identifier: {', '.join(twice)}")
        if alike := find_alike(names):
            raise SchemaError(f"column names that differ only in case: {', '.join(alike)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    def __getitem__(self, name: str) -> Feature:
        """Return the feature with a name; raises KeyError if there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of the categories without listed values."""
        return tuple(feature.name for feature in self.features if feature.kind == "category" and not feature.categories)

    def without(self, names: Collection[str]) -> Schema:
        """Return the schema without some of its features.

        Raises
        ------
        SchemaError
            If a feature does not exist, or none is left.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise SchemaError(f"the schema has no feature {', '.join(unknown)}; it has: {', '.join(self.names)}")
        return replace(self, features=tuple(feature for feature in self.features if feature.name not in names))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the parts that an encoder depends on: names, kinds, levels and nullability, in order."""
        essence = [[f.name, f.kind, list(f.levels), f.nullable] for f in self.features]
        return hashlib.sha256(json.dumps(essence).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain data, as in manifests and TOML files."""
        features = {}
        for feature in self.features:
            # `is not False`, since a bound of 0 equals False but must be kept.
            entry = {
                key: value
                for key, value in asdict(feature).items()
                if value is not None and value is not False and value not in ("", ())
            }
            entry.pop("name")
            if "categories" in entry:
                entry["categories"] = list(entry["categories"])
            features[feature.name] = entry
        return {"label": self.label, "identifier": self.identifier, "features": features}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Schema:
        """Create a schema from the result of `to_dict` or from a schema file.

        Raises
        ------
        SchemaError
            If a key is missing, unknown or of the wrong type; the message names it.
        """
        _refuse_unknown_keys("the schema", data, {"label", "identifier", "features"})
        label, identifier = data.get("label"), data.get("identifier", "CustomerId")
        if not isinstance(label, str) or not isinstance(identifier, str):
            raise SchemaError("label and identifier of the schema must be strings")
        features = data.get("features")
        if not isinstance(features, Mapping):
            raise SchemaError("the schema has no table [features]")
        for name, role in ((label, "label"), (identifier, "identifier")):
            entry = features.get(name)
            if isinstance(entry, Mapping) and entry.get("actionable"):
                raise SchemaError(f"{name} is the {role}, so it can't be actionable; only features can")
        return cls(tuple(_read_feature(name, entry) for name, entry in features.items()), label, identifier)


_TEXTS = ("description", "unit", "format", "actionable")


def _read_feature(name: str, entry: object) -> Feature:
    if not isinstance(entry, Mapping):
        raise SchemaError(f"feature {name}: expected a table with at least a kind")
    _refuse_unknown_keys(f"feature {name}", entry, {field.name for field in fields(Feature)} - {"name"})
    if "kind" not in entry:
        raise SchemaError(f"feature {name}: kind is missing; allowed: {', '.join(KINDS)}")
    for key in BOUNDS:
        value = entry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SchemaError(f"feature {name}: {key} must be a number, not {value!r}")
    categories = entry.get("categories", [])
    if not isinstance(categories, list | tuple) or not all(isinstance(c, str) for c in categories):
        raise SchemaError(f"feature {name}: categories must be a list of strings, not {categories!r}")
    for keys, kind, words in ((("nullable", "open"), bool, "true or false"), (_TEXTS, str, "a string")):
        wrong = [key for key in keys if not isinstance(entry.get(key, kind()), kind)]
        if wrong:
            raise SchemaError(f"feature {name}: {wrong[0]} must be {words}, not {entry[wrong[0]]!r}")
    if not isinstance(entry.get("example", ""), str | int | float):
        raise SchemaError(f"feature {name}: example must be a value of the column, not {entry['example']!r}")
    return Feature(name, **{**entry, "categories": tuple(categories)})


def _refuse_unknown_keys(where: str, data: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise SchemaError(f"{where}: unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
