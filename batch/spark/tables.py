"""Read and write tables with Spark. Cells of a CSV are read as strings, so that they are validated as without Spark."""

from __future__ import annotations

import csv as text_csv
from typing import TYPE_CHECKING, Any

from pyspark.sql.types import StringType, StructField, StructType

from batch.spark.rows import RAGGED, TextFormat
from churn.errors import TableError
from churn.names import normalize_names
from churn.tables.csv_format import find_csv_format
from churn.tables.encoding import LONGEST_MARK, find_encoding

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from churn.numerals import Decimal
    from churn.schema import Schema

KINDS = ("csv", "parquet", "orc")

HEAD_LINES = 1000
"""Number of lines for detecting the format of a CSV."""


def read_table(
    spark: SparkSession, source: str, schema: Schema, decimal: str | None = None
) -> tuple[DataFrame, TextFormat]:
    """Read a file, a folder or a glob from any file system that Spark supports.

    Parameters
    ----------
    source : str
        The format is given by the extension: ``.csv`` (also ``.csv.gz`` and other compressions that Spark supports),
        ``.parquet`` or ``.orc``. Names without an extension are Parquet.
    schema : Schema
        Schema of the model.
    decimal : {".", ","}, optional
        Decimal separator of numbers in text. Detected in the first rows of a CSV by default.

    Raises
    ------
    TableError
        If the table is empty or its header is invalid.
    """
    if _kind(source) == "csv":
        return _read_csv(spark, source, schema, decimal)
    decimals: dict[str, Decimal] = dict.fromkeys(schema.names, ",") if decimal == "," else {}
    frame = spark.read.format(_kind(source)).load(source)
    return frame.toDF(*normalize_names(frame.columns)), TextFormat(decimals)


class Folder:
    """An output folder, written under a temporary name and published by renaming.

    Parameters
    ----------
    spark : SparkSession
    name : str
        Path on any file system that Spark supports. CSV if it ends with ``.csv`` or ``.csv.rejects``, else Parquet.
    """

    def __init__(self, spark: SparkSession, name: str) -> None:
        self.name = name.rstrip("/")
        self._spark = spark
        parent, slash, bare = self.name.rpartition("/")
        # Spark ignores names with a leading underscore when it reads the parent folder.
        self._aside = f"{parent}{slash}_{bare}.partial"
        self._kind = "csv" if self.name.removesuffix(".rejects").endswith(".csv") else "parquet"
        hadoop: Any = spark._jvm.org.apache.hadoop.fs.Path  # noqa: SLF001  no public API
        self._final_path, self._aside_path = hadoop(self.name), hadoop(self._aside)
        self._system = self._final_path.getFileSystem(spark._jsc.hadoopConfiguration())  # noqa: SLF001

    def require_absent(self) -> None:
        """Raise an error if the folder exists.

        Raises
        ------
        TableError
        """
        if self._system.exists(self._final_path):
            raise TableError(f"{self.name}: the folder exists; remove it, or use another name")

    def write_aside(self, table: DataFrame) -> None:
        """Write a table to the temporary folder, replacing what a killed job left."""
        writer = table.write.mode("overwrite")
        if self._kind == "csv":
            writer.csv(self._aside, header=True, escape='"', nullValue="", emptyValue='""')
        else:
            writer.parquet(self._aside)
        self._form = table.schema

    def read_aside(self) -> DataFrame:
        """Read the table from the temporary folder."""
        if self._kind == "csv":
            return self._spark.read.csv(self._aside, header=True, escape='"', schema=self._form, multiLine=True)
        return self._spark.read.schema(self._form).parquet(self._aside)

    def read(self) -> DataFrame:
        """Read the table from the folder: the cells of a CSV as text, because their types are not known any more."""
        return self._read(self.name)

    def reread_aside(self) -> DataFrame:
        """Read the table from the temporary folder as `read` will do once it is published."""
        return self._read(self._aside)

    def _read(self, path: str) -> DataFrame:
        if self._kind == "csv":
            # With the default, "", Spark reads an empty text as null as well.
            return self._spark.read.csv(path, header=True, escape='"', multiLine=True, nullValue="\0")
        return self._spark.read.parquet(path)

    def publish(self) -> None:
        """Rename the temporary folder to the final name.

        Raises
        ------
        TableError
            If the file system does not rename it.
        """
        if not self._system.rename(self._aside_path, self._final_path):
            raise TableError(f"{self.name}: can't be renamed from {self._aside}, which has the complete result")

    def remove_aside(self) -> None:
        """Remove the temporary folder."""
        self._system.delete(self._aside_path, True)


def _kind(source: str) -> str:
    parts = source.rstrip("/").rpartition("/")[2].lower().split(".")[1:]
    return next((kind for kind in KINDS if kind in parts), "csv" if "txt" in parts else "parquet")


def _read_csv(spark: SparkSession, source: str, schema: Schema, decimal: str | None) -> tuple[DataFrame, TextFormat]:
    lines = [row[0] for row in spark.read.text(source).take(HEAD_LINES)]
    head = "\n".join(lines).removeprefix("\ufeff").encode()
    numeric = [feature.name for feature in schema.features if not feature.is_text]
    try:
        find_encoding(head[:LONGEST_MARK])
        form = find_csv_format(head, is_whole=True, wanted=schema.names, numeric=numeric, decimal=decimal)
    except TableError as error:
        raise TableError(f"{source}: can't be read: {error}") from None
    if form is None or any(line.strip() for line in lines[: form.header_line - 1]):
        raise TableError(f"{source}: Spark does not support lines above the header; remove sep= and comment lines")
    twice = sorted({name for name in form.names if form.names.count(name) > 1})
    if twice:
        raise TableError(f"{source}: columns occur twice in the header: {', '.join(twice)}")
    written = next(text_csv.reader([lines[form.header_line - 1].removeprefix("\ufeff")], delimiter=form.delimiter))
    fields = [StructField(name, StringType()) for name in [*written, RAGGED]]
    frame = spark.read.csv(
        source,
        schema=StructType(fields),
        header=True,
        enforceSchema=False,  # raises an error if a file of the folder has another header
        sep=form.delimiter,
        escape='"',
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=RAGGED,
    )
    folders = frame.columns[len(fields) :]  # partition columns
    named = frame.toDF(*form.names, RAGGED, *normalize_names(folders))
    return named, TextFormat(form.decimals, form.delimiter)
