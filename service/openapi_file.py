"""Writes the OpenAPI document of a registry's current model: ``python -m service.openapi_file MODELS OUT.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from churn.bundle import read_bundle
from churn.registry import Registry
from service.api.openapi import build_document
from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str]) -> None:
    """Write the document to a file."""
    models, target = map(Path, arguments)
    schema = read_bundle(Registry(models).current_folder()).manifest.schema
    document = build_document(create_app(Settings(models=models)), schema)
    target.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
