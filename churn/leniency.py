"""Query parameters that relax the validation of a JSON body: ``?extra=ignore`` and ``?texts=parse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from churn.feature import Feature
    from churn.numerals import Decimal


class Leniency(NamedTuple):
    """Options for the validation of a JSON body.

    Attributes
    ----------
    ignores_extra : bool
        Whether fields that are not in the schema are ignored.
    parses_texts : bool
        Whether strings are parsed like the cells of a CSV, and names of fields like its header.
    decimal : {".", ","}
        Decimal separator of numbers in strings.
    """

    ignores_extra: bool = False
    parses_texts: bool = False
    decimal: Decimal = "."

    def read(self, feature: Feature, value: object) -> float:
        """Return the encoded value.

        Raises
        ------
        InvalidValueError
            If the feature does not allow the value.
        """
        if not self.parses_texts or value is None or isinstance(value, bool):
            return feature.encode(value)
        if feature.kind == "category" and isinstance(value, int | float):
            return feature.parse(_write_number(value))
        return feature.parse(value, self.decimal) if isinstance(value, str) else feature.encode(value)

    def name_fields(self, customer: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a customer with the names of the schema."""
        return {name.strip(): value for name, value in customer.items()} if self.parses_texts else customer


STRICT = Leniency()


def choose_leniency(parameters: Mapping[str, str | None]) -> Leniency:
    """Return the options for the parameters of a query string, as `service.query.read_parameters` returns them."""
    decimal: Decimal = "," if parameters["decimal"] == "," else "."
    return Leniency(parameters["extra"] == "ignore", parameters["texts"] == "parse", decimal)


def _write_number(value: int | float) -> str:
    """Return a number as in a CSV: whole numbers, such as postal codes, without a decimal point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
