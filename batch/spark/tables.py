"""Tables as Spark reads and writes them: a CSV's cells as text, so that they are judged as on one machine."""

from __future__ import annotations

import csv as text_csv
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StringType, StructField, StructType

from batch.spark.rows import RAGGED, TextForm
from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.encoding import LONGEST_MARK, find_encoding
from churn.tables.form import find_form

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from churn.numerals import Decimal
    from churn.schema import Schema

KINDS = ("csv", "parquet", "orc")

HEAD_LINES = 1000
"""Lines of a CSV by which it is found out how it is written."""


def read_table(
    spark: SparkSession, source: str, schema: Schema, decimal: str | None = None
) -> tuple[DataFrame, TextForm]:
    """Read a file, a folder or a glob from any file system Spark knows.

    Parameters
    ----------
    source : str
        What its names end with says what it is: ``.csv`` (also ``.csv.gz`` and others Spark unpacks), ``.parquet`` or
        ``.orc``. A folder is Parquet unless it says otherwise.
    schema : Schema
        Of the model.
    decimal : {".", ","}, optional
        How numbers in text are written; found out by the first rows of a CSV if not given.

    Raises
    ------
    TableError
        If it is empty, or its header can't be used.
    """
    if _kind(source) == "csv":
        return _read_csv(spark, source, schema, decimal)
    decimals: dict[str, Decimal] = dict.fromkeys(schema.names, ",") if decimal == "," else {}
    frame = spark.read.format(_kind(source)).load(source)
    return frame.toDF(*normalize_names(frame.columns)), TextForm(decimals)


class Folder:
    """A folder of result files, written aside and published by renaming.

    Parameters
    ----------
    spark : SparkSession
    name : str
        On any file system Spark knows. CSV if it ends with ``.csv`` or ``.csv.rejects``, else Parquet.
    """

    def __init__(self, spark: SparkSession, name: str) -> None:
        self.name = name.rstrip("/")
        self._spark = spark
        parent, slash, bare = self.name.rpartition("/")
        # A name Spark itself does not read, nor anybody who reads the folder above.
        self._aside = f"{parent}{slash}_{bare}.partial"
        self._kind = "csv" if self.name.removesuffix(".rejects").endswith(".csv") else "parquet"
        hadoop: Any = spark._jvm.org.apache.hadoop.fs.Path  # noqa: SLF001  no other way
        self._final_path, self._aside_path = hadoop(self.name), hadoop(self._aside)
        self._system = self._final_path.getFileSystem(spark._jsc.hadoopConfiguration())  # noqa: SLF001

    def require_absent(self) -> None:
        """Refuse a folder that exists.

        Raises
        ------
        TableError
        """
        if self._system.exists(self._final_path):
            raise TableError(f"{self.name}: exists; remove it, or name another")

    def write_aside(self, table: DataFrame) -> None:
        """Write a table where nobody looks for it; what a killed job left there is overwritten."""
        writer = table.write.mode("overwrite")
        if self._kind == "csv":
            writer.csv(self._aside, header=True, escape='"', nullValue="", emptyValue='""')
        else:
            writer.parquet(self._aside)
        self._form = table.schema

    def read_aside(self) -> DataFrame:
        """Return what was written."""
        if self._kind == "csv":
            return self._spark.read.csv(self._aside, header=True, escape='"', schema=self._form, multiLine=True)
        return self._spark.read.schema(self._form).parquet(self._aside)

    def publish(self) -> None:
        """Give the folder its name.

        Raises
        ------
        TableError
            If the file system refuses.
        """
        if not self._system.rename(self._aside_path, self._final_path):
            raise TableError(f"{self.name}: can't be given its name; the result is in {self._aside}")

    def remove_aside(self) -> None:
        """Remove what was written and not published."""
        self._system.delete(self._aside_path, True)


def _kind(source: str) -> str:
    parts = source.rstrip("/").rpartition("/")[2].lower().split(".")[1:]
    return next((kind for kind in KINDS if kind in parts), "csv" if "txt" in parts else "parquet")


def _read_csv(spark: SparkSession, source: str, schema: Schema, decimal: str | None) -> tuple[DataFrame, TextForm]:
    lines = [row[0] for row in spark.read.text(source).take(HEAD_LINES)]
    head = "\n".join(lines).removeprefix("\ufeff").encode()
    numeric = [feature.name for feature in schema.features if not feature.is_text]
    try:
        find_encoding(head[:LONGEST_MARK])
        form = find_form(head, is_whole=True, wanted=schema.names, numeric=numeric, decimal=decimal)
    except TableError as error:
        raise TableError(f"{source}: can't be read: {error}") from None
    if form is None or any(line.strip() for line in lines[: form.header_line - 1]):
        raise TableError(f"{source}: Spark reads no lines above the header; remove those with sep= or comments")
    twice = sorted({name for name in form.names if form.names.count(name) > 1})
    if twice:
        raise TableError(f"{source}: the header names a column twice: {', '.join(twice)}")
    written = next(text_csv.reader([lines[form.header_line - 1].removeprefix("\ufeff")], delimiter=form.delimiter))
    fields = [StructField(name, StringType()) for name in [*written, RAGGED]]
    frame = spark.read.csv(
        source,
        schema=StructType(fields),
        header=True,
        enforceSchema=False,  # a file of the folder with another header is refused, not read by position
        sep=form.delimiter,
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=RAGGED,
    )
    folders = frame.columns[len(fields) :]  # columns that folders' names tell
    named = frame.toDF(*form.names, RAGGED, *normalize_names(folders))
    return named, TextForm(form.decimals, form.delimiter)
