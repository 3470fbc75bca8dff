"""A column of the schema: its kind, what values it allows, and the number of each.

A `Feature` is the one judge of values: readers of JSON, CSV and Arrow are held to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, get_args

from churn.dates import FORMATS, ISO, count_days, describe_format, parse_date, write_date
from churn.errors import SchemaError
from churn.marks import Direction, find_mark_fault
from churn.names import find_fault, normalize, shorten
from churn.numerals import Decimal, read_number

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["number", "integer", "flag", "category", "date"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BOUNDS = ("minimum", "maximum", "trained_minimum", "trained_maximum", "actionable_minimum", "actionable_maximum")
"""Attributes of a feature that limit its numbers."""

FLAG_WORDS: Mapping[str, float] = {"no": 0.0, "yes": 1.0, "false": 0.0, "true": 1.0, "0": 0.0, "1": 1.0}
"""Spellings of flags in text, in lower case."""

MISSING_WORDS = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
"""Strings that represent a missing value."""

OTHER = "(other)"
"""Level of an open category for all values that are not listed."""

LARGEST = 1e15
"""Maximum absolute value of a number; larger ones would overflow the network's float32."""


class InvalidValueError(ValueError):
    """A value that a feature does not allow; the message is the reason, as a clause such as ``"is missing"``."""


@dataclass(frozen=True, slots=True)
class Feature:
    """An input column. Its name and categories are normalised to Unicode form NFC.

    Attributes
    ----------
    name : str
        Name of the column in tables and requests.
    kind : {"number", "integer", "flag", "category", "date"}
        Kind of the values.
    minimum, maximum : float or None
        Bounds; values outside are rejected. None means no bound.
    trained_minimum, trained_maximum : float or None
        Range seen in training; for a date in days since 1970-01-01. Values outside are scored with a warning.
    categories : tuple of str
        Listed values of a category, in the order of the encoder. Empty only in a schema file; training then lists
        the values of the table.
    open : bool
        Whether a category also allows values that are not listed; all of them are the level `OTHER`.
    format : str
        Format of a date, one of `churn.dates.FORMATS`; ISO 8601 is always allowed. Empty means ISO 8601 only.
    nullable : bool
        Whether values may be missing; true only if the training data have missing values.
    description, unit : str
        Shown in the OpenAPI document and the report.
    example : float, str or None
        A typical value, shown in the OpenAPI document.
    actionable : {"", "increase", "decrease", "any"}
        In which direction somebody can change the values, so that `churn.whatif` may propose it. Empty: nobody can.
    actionable_minimum, actionable_maximum : float or None
        Bounds of proposed values, for a date in days since 1970-01-01. None means the range seen in training, which
        always applies as well.

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
    actionable: Direction = ""
    actionable_minimum: float | None = None
    actionable_maximum: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", normalize(self.name))
        object.__setattr__(self, "categories", tuple(map(normalize, self.categories)))
        if fault := find_fault(self.name, "feature"):
            raise SchemaError(f"a feature can't be named {shorten(self.name)}: {fault}; rename the column")
        if self.kind not in KINDS:
            raise SchemaError(f"feature {self.name}: kind {self.kind!r} is unknown; allowed: {', '.join(KINDS)}")
        self._check_texts()
        for bound in (getattr(self, key) for key in BOUNDS):
            if bound is not None and not math.isfinite(bound):
                raise SchemaError(f"feature {self.name}: {bound} is not a bound; leave it out")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise SchemaError(f"feature {self.name}: minimum {self.minimum} is above maximum {self.maximum}")
        low, high = self.actionable_minimum, self.actionable_maximum
        if fault := find_mark_fault(self.kind, self.actionable, low, high, is_quantity=self.is_quantity):
            raise SchemaError(f"feature {self.name}: {fault}")

    def _check_texts(self) -> None:
        """Raise an error if the fields of a category or date contradict each other."""
        if (self.categories or self.open) and self.kind != "category":
            raise SchemaError(f"feature {self.name}: categories and open require kind 'category'")
        if gaps := MISSING_WORDS.intersection(self.categories):
            raise SchemaError(
                f"feature {self.name}: {min(gaps)!r} represents a missing value; remove it from the categories, and "
                "set nullable = true"
            )
        if self.open and OTHER in self.categories:
            raise SchemaError(f"feature {self.name}: {OTHER!r} represents the values that are not listed")
        if self.format and (self.kind != "date" or self.format not in FORMATS):
            allowed = ", ".join(FORMATS)
            raise SchemaError(
                f"feature {self.name}: format requires kind 'date' and one of {allowed}; not {self.format!r}"
            )
        if len(set(self.categories)) != len(self.categories):
            raise SchemaError(f"feature {self.name}: a category is listed twice")

    @property
    def is_numeric(self) -> bool:
        """Whether the kind is number or integer."""
        return self.kind in ("number", "integer")

    @property
    def is_quantity(self) -> bool:
        """Whether the raw values are quantities, i.e. numbers or the days of a date."""
        return self.is_numeric or self.kind == "date"

    @property
    def is_text(self) -> bool:
        """Whether the values are strings, i.e. the kind is category or date."""
        return self.kind in ("category", "date")

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels of a category in the order of their raw values: the listed ones, and `OTHER` if it is open."""
        return (*self.categories, OTHER) if self.open else self.categories

    @property
    def allowed(self) -> str:
        """Description of the allowed values."""
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
        """Return a raw quantity for display: a date in ISO 8601, a number unchanged."""
        return write_date(quantity) if self.kind == "date" and quantity is not None else quantity

    def encode(self, value: object) -> float:
        """Validate a value and return it as a number of the raw matrix.

        Numbers are unchanged, flags are 0 or 1, categories are the position among `levels`, and dates are days since
        1970-01-01. `MISSING_WORDS` are missing values.

        Parameters
        ----------
        value : object
            Value from JSON or a typed table; None is a missing value.

        Returns
        -------
        float
            NaN for a missing value of a nullable feature.

        Raises
        ------
        InvalidValueError
            If the value is not allowed; the message is the reason.
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
        """Parse and validate a string from a table; surrounding white space is ignored.

        Parameters
        ----------
        text : str
        decimal : {".", ",", "?"}
            Decimal separator of the column.

        Returns
        -------
        float
            See `encode`.

        Raises
        ------
        InvalidValueError
            If the value is not allowed; the message is the reason.
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
        if isinstance(value, date):  # or datetime, a subclass
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
