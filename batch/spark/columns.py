"""Select and name columns for Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch.spark.rows import RAGGED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


def choose(frame: DataFrame, columns: Sequence[str]) -> tuple[list[str], DataFrame]:
    """Select columns of a table for mapInArrow; return their names, and the table under other ones.

    mapInArrow finds columns by unquoted name, so a name with a dot would be interpreted as a path.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        If it has the column `RAGGED`, all columns stay: Spark sees a line with a wrong number of fields only if it
        reads all of them.
    columns : sequence of str
    """
    chosen = frame if RAGGED in frame.columns else frame.select(*(frame[quote(name)] for name in columns))
    return chosen.columns, chosen.toDF(*(f"c{position}" for position in range(len(chosen.columns))))


def quote(name: str) -> str:
    """Return the quoted name of a column for Spark expressions."""
    return "`" + name.replace("`", "``") + "`"
