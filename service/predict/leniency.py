"""How strictly a JSON body is read: ``?extra=ignore`` and ``?texts=parse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from churn.numerals import MARKS
from service.query import read_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from starlette.types import Scope

    from churn.numerals import Decimal
    from churn.schema import Feature

EXTRA = ("refuse", "ignore")
TEXTS = ("refuse", "parse")
"""Values of the parameters, the default first."""


class Leniency(NamedTuple):
    """What is accepted beyond the model's own fields and types.

    Attributes
    ----------
    ignores_extra : bool
        Whether fields that the model does not know are ignored.
    parses_texts : bool
        Whether texts are read as cells of a CSV are, and names of fields as its header is.
    decimal : {".", ","}
        How such texts write numbers.
    """

    ignores_extra: bool = False
    parses_texts: bool = False
    decimal: Decimal = "."

    def read(self, feature: Feature, value: object) -> float:
        """Return a value's number; InvalidValueError if the feature does not accept it."""
        if not self.parses_texts or value is None or isinstance(value, bool):
            return feature.encode(value)
        if feature.kind == "category" and isinstance(value, int | float):
            return feature.parse(_write_number(value))
        return feature.parse(value, self.decimal) if isinstance(value, str) else feature.encode(value)

    def name_fields(self, customer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a customer under the names that the model knows."""
        return {name.strip(): value for name, value in customer.items()} if self.parses_texts else customer


STRICT = Leniency()


def read_leniency(scope: Scope) -> Leniency:
    """Return what a request's query string asks for.

    Raises
    ------
    RequestProblem
        400 if a parameter has a value that is not allowed.
    """
    extra, texts = read_parameter(scope, "extra", EXTRA), read_parameter(scope, "texts", TEXTS)
    decimal: Decimal = "," if read_parameter(scope, "decimal", MARKS) == "," else "."
    return Leniency(extra == "ignore", texts == "parse", decimal)


def _write_number(value: int | float) -> str:
    """Return a number as a CSV holds it: a code such as 93225 has no point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
