"""Sessions of Spark for tests, which are skipped where Spark or Java is missing."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def spark_session(*, small_partitions: bool = False) -> Iterator[Any]:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'churn[spark]'")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is not installed (Debian: apt-get install openjdk-17-jre-headless)")
    from batch.spark.session import open_session

    with open_session("local[2]") as session:
        if small_partitions:
            session.conf.set("spark.sql.files.maxPartitionBytes", "16000")
            session.conf.set("spark.sql.files.openCostInBytes", "0")
        yield session
