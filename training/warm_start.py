"""Starts from an earlier version: its preprocessor and its weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import joblib
import keras
from sklearn.exceptions import InconsistentVersionWarning

import churn.layers  # noqa: F401  registers the layers a network may be made of
from churn.bundle import KERAS_FILE, PREPROCESSOR_FILE, check_library, read_bundle
from churn.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor
    from churn.schema import Schema


def load_earlier(folder: Path, schema: Schema, network: str) -> tuple[Pipeline, Preprocessor, keras.Model]:
    """Load a verified bundle to go on training from.

    Raises
    ------
    BundleError
        If the bundle is damaged, another library wrote it, it holds another network, or its schema differs in names,
        kinds, categories or gaps: then its weights mean something else.
    """
    manifest = read_bundle(folder).manifest
    if manifest.schema.fingerprint != schema.fingerprint:
        raise BundleError(
            f"{folder}: can't start from it: its columns ({', '.join(manifest.schema.names)}) differ from the table's "
            f"({', '.join(schema.names)}) in name, order, kind, categories or gaps"
        )
    name = manifest.content["network"]["name"]
    if name != network:
        raise BundleError(f"{folder}: can't start from it: it holds the {name} network, and {network} is asked for")
    check_library(manifest, "keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            transformer = joblib.load(folder / PREPROCESSOR_FILE)
        except InconsistentVersionWarning as warning:
            raise BundleError(f"{folder / PREPROCESSOR_FILE}: {warning}") from warning
    model = keras.saving.load_model(folder / KERAS_FILE, compile=False, safe_mode=True)
    return transformer, manifest.preprocessor, model
