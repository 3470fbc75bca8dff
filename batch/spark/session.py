"""A Spark session for `churn score --spark`: what spark-submit began, or one of our own."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from churn.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

LOCAL_SHUFFLE_PARTITIONS = 8
"""Spark's own 200 are for a cluster; only counts are shuffled here."""

ROWS_AT_ONCE = 32_768
"""Rows of a batch handed to Python; Spark's own 10,000 cost a tenth more."""


@contextmanager
def open_session(master: str) -> Iterator[SparkSession]:
    """Yield a session; one that was made here is stopped after the block.

    Parameters
    ----------
    master : str
        As Spark takes it: ``local[2]``, ``yarn``, ``spark://host:7077``, ``k8s://…``; or ``submit``, where
        spark-submit was told.

    Raises
    ------
    EngineError
        If pyspark or Java is not installed.
    """
    try:
        from pyspark.errors import PySparkRuntimeError
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise EngineError("Spark is not installed: pip install 'churn[spark]'") from error
    running = SparkSession.getActiveSession()
    if running is not None:
        yield running
        return
    if master.startswith("local"):
        # Its Python workers are to be this Python, with this project and its libraries, not the first on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder if master == "submit" else SparkSession.builder.master(master)
    builder = (
        builder.appName("churn score")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS_AT_ONCE)
        .config("spark.log.level", "ERROR")
        .config("spark.ui.showConsoleProgress", str(sys.stderr.isatty()).lower())
    )
    if master.startswith("local"):
        builder = builder.config("spark.ui.enabled", "false").config("spark.driver.bindAddress", "127.0.0.1")
        builder = builder.config("spark.sql.shuffle.partitions", LOCAL_SHUFFLE_PARTITIONS)
        builder = builder.config("spark.driver.host", "127.0.0.1")
        builder = builder.config("spark.executorEnv.PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    with quiet_about_pandas():
        try:
            session = builder.getOrCreate()
        except PySparkRuntimeError as error:
            raise EngineError(f"Spark can't be started: {error}; it needs Java 17 or newer") from error
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def quiet_about_pandas() -> Iterator[None]:
    """Leave out that Spark knows pandas 2 best: nothing here is handed to pandas."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        yield
