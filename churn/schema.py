"""The columns of a customer: the one place that knows them.

Request models, file readers, the preprocessor and the histograms are all derived from a `Schema`, so a table
with other columns needs no code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from churn.errors import SchemaError
from churn.names import find_alike, find_fault, normalize, shorten
from churn.numerals import Decimal, read_number

Kind = Literal["number", "integer", "flag", "category"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FLAG_WORDS: Mapping[str, float] = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0, "0": 0.0, "1": 1.0}
"""Flags as text, in lower case, as tables hold them."""

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
"""Cells of a text table that mean "not known"."""

LARGEST = 1e15
"""Quantities beyond, either way, are refused: no customer has one, and the network's float32 would overflow to NaN."""


class InvalidValueError(ValueError):
    """A value a feature does not accept; the message is the reason, as a clause."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One column a customer is described by. Its name and categories are held in Unicode's form NFC.

    Attributes
    ----------
    name : str
        The column's name in tables and requests.
    kind : {"number", "integer", "flag", "category"}
        What its values are.
    minimum, maximum : float or None
        Values beyond are impossible and refused. None: no such bound.
    trained_minimum, trained_maximum : float or None
        Range seen in training. Values beyond are scored, with a warning.
    categories : tuple of str
        The allowed values of a category, in the order the encoder knows them.
    nullable : bool
        Whether a value may be missing; true only if training saw gaps.
    description, unit : str
        For people: shown in the OpenAPI page and the report.
    example : float, str or None
        A typical value, shown in the OpenAPI page.

    Raises
    ------
    SchemaError
        If the fields contradict each other.
    """

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    trained_minimum: float | None = None
    trained_maximum: float | None = None
    categories: tuple[str, ...] = ()
    nullable: bool = False
    description: str = ""
    unit: str = ""
    example: float | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normalize(self.name))
        object.__setattr__(self, "categories", tuple(map(normalize, self.categories)))
        if fault := find_fault(self.name, "feature"):
            raise SchemaError(f"a feature can't be named {shorten(self.name)}: {fault}; rename the column")
        if self.kind not in KINDS:
            raise SchemaError(f"feature {self.name}: kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        if (self.kind == "category") != bool(self.categories):
            raise SchemaError(f"feature {self.name}: categories go with kind 'category', and only with it")
        if len(set(self.categories)) != len(self.categories):
            raise SchemaError(f"feature {self.name}: a category is listed twice")
        for bound in (self.minimum, self.maximum, self.trained_minimum, self.trained_maximum):
            if bound is not None and not math.isfinite(bound):
                raise SchemaError(f"feature {self.name}: a bound of {bound} is none; leave it out")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise SchemaError(f"feature {self.name}: minimum {self.minimum} is above maximum {self.maximum}")

    @property
    def is_numeric(self) -> bool:
        """Whether the values are quantities (a number or an integer)."""
        return self.kind in ("number", "integer")

    @property
    def allowed(self) -> str:
        """What the feature accepts, in words."""
        if self.kind == "category":
            words = "one of " + ", ".join(self.categories)
        elif self.kind == "flag":
            words = "0, 1, true, false, yes or no"
        else:
            noun = "a number" if self.kind == "number" else "a whole number"
            words = noun + _range_in_words(self.minimum, self.maximum)
        return f"{words}, or null" if self.nullable else words

    def encode(self, value: object) -> float:
        """Turn one value into its number: a quantity as it is, a flag as 0 or 1, a category as its position.

        Parameters
        ----------
        value : object
            As JSON or a typed table gives it. None is a missing value.

        Returns
        -------
        float
            NaN for a missing value of a nullable feature.

        Raises
        ------
        InvalidValueError
            If the value is not allowed; the message says why.
        """
        if value is None:
            if self.nullable:
                return math.nan
            raise InvalidValueError("is missing")
        if self.kind == "category":
            return self._encode_category(value)
        if self.kind == "flag":
            return _encode_flag(value)
        return self._encode_quantity(value)

    def parse(self, text: str, decimal: Decimal = ".") -> float:
        """Turn one cell of a text table into its number: blanks around it are taken off, `MISSING_WORDS` are missing.

        Parameters
        ----------
        text : str
        decimal : {".", ",", "?"}
            How the column writes numbers.

        Raises
        ------
        InvalidValueError
            If the text does not say an allowed value.
        """
        text = text.strip()
        if text in MISSING_WORDS:
            return self.encode(None)
        if self.kind == "category":
            return self._encode_category(text)
        if self.kind == "flag" and text.lower() in FLAG_WORDS:
            return _encode_flag(text)
        try:
            number = read_number(text, decimal)
        except ValueError as error:
            raise InvalidValueError("is not a flag" if self.kind == "flag" else str(error)) from None
        return _encode_flag(number) if self.kind == "flag" else self._encode_quantity(number)

    def _encode_category(self, value: object) -> float:
        if not isinstance(value, str):
            raise InvalidValueError("is not a text")
        try:
            return float(self.categories.index(normalize(value)))
        except ValueError:
            raise InvalidValueError("is an unknown category") from None

    def _encode_quantity(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidValueError("is not a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise InvalidValueError("is not a finite number")
        if self.kind == "integer" and not number.is_integer():
            raise InvalidValueError("is not a whole number")
        if self.minimum is not None and number < self.minimum:
            raise InvalidValueError("is too small")
        if self.maximum is not None and number > self.maximum:
            raise InvalidValueError("is too large")
        if abs(number) > LARGEST:
            raise InvalidValueError(f"is beyond {LARGEST:g}")
        return number


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of one model, in the order of the raw matrix.

    Attributes
    ----------
    features : tuple of Feature
        What a customer is described by.
    label : str
        The training table's label column, e.g. ``"Exited"``.
    identifier : str
        The column that names a customer; never a feature, echoed in answers.

    Raises
    ------
    SchemaError
        If there is no feature, names are the same or differ in case alone, or `churn.names.find_fault` objects to one.
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
            raise SchemaError(f"used twice among features, label and identifier: {', '.join(twice)}")
        if alike := find_alike(names):
            raise SchemaError(f"names of columns that differ in case alone: {', '.join(alike)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        return tuple(feature.name for feature in self.features)

    def __getitem__(self, name: str) -> Feature:
        """Return the feature of that name; KeyError if there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise KeyError(name)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what an encoder depends on: names, kinds, categories and gaps, in order."""
        essence = [[f.name, f.kind, list(f.categories), f.nullable] for f in self.features]
        return hashlib.sha256(json.dumps(essence).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain data, the form manifests and TOML files hold."""
        features = {}
        for feature in self.features:
            # By identity: a bound of 0 equals False, and must stay.
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
        """Read what `to_dict` wrote or a person edited.

        Raises
        ------
        SchemaError
            If a key is missing, unknown or of the wrong type; the message names it.
        """
        _refuse_unknown_keys("the schema", data, {"label", "identifier", "features"})
        label, identifier = data.get("label"), data.get("identifier", "CustomerId")
        if not isinstance(label, str) or not isinstance(identifier, str):
            raise SchemaError("the schema's label and identifier are names of columns, in quotes")
        features = data.get("features")
        if not isinstance(features, Mapping):
            raise SchemaError("the schema has no table of features")
        return cls(tuple(_read_feature(name, entry) for name, entry in features.items()), label, identifier)


def _read_feature(name: str, entry: object) -> Feature:
    if not isinstance(entry, Mapping):
        raise SchemaError(f"feature {name}: expected a table with at least a kind")
    _refuse_unknown_keys(f"feature {name}", entry, {field.name for field in fields(Feature)} - {"name"})
    if "kind" not in entry:
        raise SchemaError(f"feature {name}: kind is missing; allowed: {', '.join(KINDS)}")
    for key in ("minimum", "maximum", "trained_minimum", "trained_maximum"):
        value = entry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise SchemaError(f"feature {name}: {key} is a number, not {value!r}")
    categories = entry.get("categories", [])
    if not isinstance(categories, list | tuple) or not all(isinstance(c, str) for c in categories):
        raise SchemaError(f"feature {name}: categories is a list of texts, not {categories!r}")
    if not isinstance(entry.get("nullable", False), bool):
        raise SchemaError(f"feature {name}: nullable is true or false")
    for key in ("description", "unit"):
        if not isinstance(entry.get(key, ""), str):
            raise SchemaError(f"feature {name}: {key} is a text, not {entry[key]!r}")
    if not isinstance(entry.get("example", ""), str | int | float):
        raise SchemaError(f"feature {name}: example is a value of the column, not {entry['example']!r}")
    return Feature(name, **{**entry, "categories": tuple(categories)})


def _refuse_unknown_keys(where: str, data: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise SchemaError(f"{where}: unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _encode_flag(value: object) -> float:
    if isinstance(value, str):
        number = FLAG_WORDS.get(value.lower())
        if number is not None:
            return number
    elif isinstance(value, int | float) and value in (0, 1):
        return float(value)
    raise InvalidValueError("is not a flag")


def _range_in_words(minimum: float | None, maximum: float | None) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum:.15g} to {maximum:.15g}"
    if minimum is not None:
        return f" of {minimum:.15g} or more"
    if maximum is not None:
        return f" of {maximum:.15g} or less"
    return ""
