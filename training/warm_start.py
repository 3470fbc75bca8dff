"""Warm start from the preprocessor and the weights of an earlier version."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import joblib
import keras
from sklearn.exceptions import InconsistentVersionWarning

import churn.layers  # noqa: F401  registers custom layers
from churn.bundle import KERAS_FILE, PREPROCESSOR_FILE, check_library, read_bundle
from churn.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor
    from churn.schema import Schema


def load_earlier(folder: Path, schema: Schema, network: str) -> tuple[Pipeline, Preprocessor, keras.Model]:
    """Verify and load a model version to continue training from.

    Raises
    ------
    BundleError
        If the bundle is damaged, was written by another library version, contains another network, or has a schema
        with other names, kinds, categories or missing values.
    """
    manifest = read_bundle(folder).manifest
    if manifest.schema.fingerprint != schema.fingerprint:
        raise BundleError(
            f"{folder}: no warm start: its columns ({', '.join(manifest.schema.names)}) differ from the table's "
            f"({', '.join(schema.names)}) in name, order, kind, categories or missing values"
        )
    name = manifest.content["network"]["name"]
    if name != network:
        raise BundleError(f"{folder}: no warm start: it contains the {name} network, but {network} is trained")
    check_library(manifest, "keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            transformer = joblib.load(folder / PREPROCESSOR_FILE)
        except InconsistentVersionWarning as warning:
            raise BundleError(f"{folder / PREPROCESSOR_FILE}: {warning}") from warning
    model = keras.saving.load_model(folder / KERAS_FILE, compile=False, safe_mode=True)
    return transformer, manifest.preprocessor, model
