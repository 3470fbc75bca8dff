"""The columns of a customer: the one place that knows them.

Request models, file readers, the preprocessor and the histograms are all derived from a `Schema`, so a table
with other columns needs no code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from typing import Any, Literal, get_args

from churn.dates import FORMATS, ISO, count_days, describe_format, parse_date, write_date
from churn.errors import SchemaError
from churn.names import find_alike, find_fault, normalize, shorten
from churn.numerals import Decimal, read_number

Kind = Literal["number", "integer", "flag", "category", "date"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FLAG_WORDS: Mapping[str, float] = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0, "0": 0.0, "1": 1.0}
"""Flags as text, in lower case, as tables hold them."""

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
"""Cells of a text table that mean "not known"."""

OTHER = "(other)"
"""What stands for every value of an open category that is not listed."""

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
    kind : {"number", "integer", "flag", "category", "date"}
        What its values are.
    minimum, maximum : float or None
        Values beyond are impossible and refused. None: no such bound.
    trained_minimum, trained_maximum : float or None
        Range seen in training, of a date in days since 1970-01-01. Values beyond are scored, with a warning.
    categories : tuple of str
        The listed values of a category, in the order the encoder knows them. Empty only in a schema file: training
        lists them.
    open : bool
        Whether a category also accepts values that are not listed; all of them are one further level.
    format : str
        How a date is written, as one of `churn.dates.FORMATS`; ISO 8601 is read besides. Empty: ISO 8601 alone.
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
    open: bool = False
    format: str = ""
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
        self._check_texts()
        for bound in (self.minimum, self.maximum, self.trained_minimum, self.trained_maximum):
            if bound is not None and not math.isfinite(bound):
                raise SchemaError(f"feature {self.name}: a bound of {bound} is none; leave it out")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise SchemaError(f"feature {self.name}: minimum {self.minimum} is above maximum {self.maximum}")

    def _check_texts(self) -> None:
        """Refuse a category or date whose fields contradict each other."""
        if (self.categories or self.open) and self.kind != "category":
            raise SchemaError(f"feature {self.name}: categories and open go with kind 'category', and only with it")
        if gaps := MISSING_WORDS.intersection(self.categories):
            raise SchemaError(
                f"feature {self.name}: {min(gaps)!r} stands for a missing value in every table; leave it out of the "
                "categories and say nullable = true"
            )
        if self.open and OTHER in self.categories:
            raise SchemaError(f"feature {self.name}: {OTHER!r} stands for the values that are not listed")
        if self.format and (self.kind != "date" or self.format not in FORMATS):
            allowed = ", ".join(FORMATS)
            raise SchemaError(
                f"feature {self.name}: format is for kind 'date', as one of {allowed}; not {self.format!r}"
            )
        if len(set(self.categories)) != len(self.categories):
            raise SchemaError(f"feature {self.name}: a category is listed twice")

    @property
    def is_numeric(self) -> bool:
        """Whether the values are written as numbers and mean quantities (a number or an integer)."""
        return self.kind in ("number", "integer")

    @property
    def is_quantity(self) -> bool:
        """Whether the raw values are quantities: numbers, or the days of a date."""
        return self.is_numeric or self.kind == "date"

    @property
    def is_text(self) -> bool:
        """Whether the values are written as text (a category or a date)."""
        return self.kind in ("category", "date")

    @property
    def levels(self) -> tuple[str, ...]:
        """A category's values by their raw code: the listed ones and, of an open one, `OTHER`."""
        return (*self.categories, OTHER) if self.open else self.categories

    @property
    def allowed(self) -> str:
        """What the feature accepts, in words."""
        if self.kind == "category":
            words = "a text" if self.open else "one of " + ", ".join(self.categories)
        elif self.kind == "date":
            forms = dict.fromkeys((self.format or ISO, ISO))
            words = "a date as " + " or ".join(map(describe_format, forms))
        elif self.kind == "flag":
            words = "0, 1, true, false, yes or no"
        else:
            noun = "a number" if self.kind == "number" else "a whole number"
            words = noun + _range_in_words(self.minimum, self.maximum)
        return f"{words}, or null" if self.nullable else words

    def show(self, quantity: float | None) -> float | str | None:
        """Return a raw quantity for people: a date in ISO 8601, a number as it is."""
        return write_date(quantity) if self.kind == "date" and quantity is not None else quantity

    def encode(self, value: object) -> float:
        """Turn one value into its number.

        A quantity is as it is, a flag 0 or 1, a category its position among `levels`, a date its days since 1970-01-01.
        A text that stands for "not known" in tables is a missing value.

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
        if value is None or (isinstance(value, str) and value.strip() in MISSING_WORDS):
            if self.nullable:
                return math.nan
            raise InvalidValueError("is missing")
        if self.kind == "category":
            return self._encode_category(value)
        if self.kind == "flag":
            return _encode_flag(value)
        return self._encode_date(value) if self.kind == "date" else self._encode_quantity(value)

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
        if self.is_text or text in MISSING_WORDS:
            return self.encode(text)
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
        text = normalize(value)
        if text in self.categories:
            return float(self.categories.index(text))
        if not self.open:
            raise InvalidValueError("is an unknown category")
        return float(len(self.categories))

    def _encode_date(self, value: object) -> float:
        if isinstance(value, date):  # and so a time
            return count_days(value)
        if not isinstance(value, str):
            raise InvalidValueError("is not a date as text")
        try:
            return parse_date(value.strip(), self.format or ISO)
        except ValueError:
            raise InvalidValueError("is not a date") from None

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
    def unlisted(self) -> tuple[str, ...]:
        """Names of the categories whose values training has to list."""
        return tuple(feature.name for feature in self.features if feature.kind == "category" and not feature.categories)

    def without(self, names: Collection[str]) -> Schema:
        """Return the schema without some of its features.

        Raises
        ------
        SchemaError
            If there is no feature of such a name, or none is left.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise SchemaError(f"the schema has no feature {', '.join(unknown)}; it has: {', '.join(self.names)}")
        return replace(self, features=tuple(feature for feature in self.features if feature.name not in names))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what an encoder depends on: names, kinds, categories and gaps, in order."""
        essence = [[f.name, f.kind, list(f.levels), f.nullable] for f in self.features]
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


_TEXTS = ("description", "unit", "format")


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
    for keys, kind, words in ((("nullable", "open"), bool, "true or false"), (_TEXTS, str, "a text")):
        wrong = [key for key in keys if not isinstance(entry.get(key, kind()), kind)]
        if wrong:
            raise SchemaError(f"feature {name}: {wrong[0]} is {words}, not {entry[wrong[0]]!r}")
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
