#!/usr/bin/env bash
# Spark's DataFrame.mapInArrow looks every column up by its name without quoting it. A frame with a column whose name
# holds a dot can be made, selected from (in backticks) and collected, and mapInArrow fails on it before anything runs,
# also where the function never touches that column.
# Seen: a column "income.net": AnalysisException, UNRESOLVED_COLUMN; "client no.": AnalysisException,
# INVALID_ATTRIBUTE_NAME_SYNTAX; the same frame with its columns renamed by position works.
# Hurts: tables whose headers come from spreadsheets.
# Versions: pyspark 4.3.0 on Java 17, pyarrow 26.0.1, pandas 2.3.3, Python 3.11.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check pyspark==4.3.0 pyarrow==26.0.1 pandas==2.3.3
PYSPARK_PYTHON="$folder/env/bin/python" "$folder/env/bin/python" - 2>"$folder/log" <<'PYTHON' || { tail -5 "$folder/log"; exit 1; }
import pyspark
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
print("pyspark", pyspark.__version__)


def run(frame):
    try:
        return [tuple(row) for row in frame.mapInArrow(lambda batches: batches, frame.schema).collect()]
    except AnalysisException as error:
        return error.getCondition()


seen = {name: run(spark.createDataFrame([(1, 2.5)], ["id", name])) for name in ("income", "income.net", "client no.")}
frame = spark.createDataFrame([(1, 2.5)], ["id", "income.net"])
print("collected:", frame.collect(), "selected:", frame.select("`income.net`").collect())
seen["renamed"] = run(frame.toDF("c0", "c1"))
for name, what in seen.items():
    print(f"{name}: {what}")
assert seen["income"] == seen["renamed"] == [(1, 2.5)]
assert str(seen["income.net"]).startswith("UNRESOLVED_COLUMN"), "the behaviour has changed"
assert seen["client no."] == "INVALID_ATTRIBUTE_NAME_SYNTAX", "the behaviour has changed"
PYTHON
