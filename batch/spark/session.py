"""Spark sessions for `churn score --spark`."""

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
"""Number of shuffle partitions; Spark's default of 200 suits a cluster, and only counts are shuffled here."""

ROWS_AT_ONCE = 32_768
"""Rows per batch passed to Python; Spark's default of 10,000 costs a tenth more."""


@contextmanager
def open_session(master: str) -> Iterator[SparkSession]:
    """Yield a session, and stop it afterwards if it was created here.

    Parameters
    ----------
    master : str
        Spark master: ``local[2]``, ``yarn``, ``spark://host:7077``, ``k8s://…``; or ``submit`` to use the session of
        spark-submit.

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
        # Python workers must use this interpreter, which has this project and its libraries, not the first on the path.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder if master == "submit" else SparkSession.builder.master(master)
    builder = (
        builder.appName("churn score")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS_AT_ONCE)
        .config("spark.log.level", "ERROR")
        # Values of partition folders remain strings, as without Spark: branch=007 is not 7.
        .config("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
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
            raise EngineError(f"can't start Spark: {error}; it needs Java 17 or newer") from error
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def quiet_about_pandas() -> Iterator[None]:
    """Suppress Spark's warning about pandas 3; no data is passed to pandas here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
        yield
