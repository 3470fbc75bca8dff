"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path

import click

models_option = click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models"),
    show_default=True,
    envvar="CHURN_MODELS",
    show_envvar=True,
    help="Folder of the model versions.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "tensorflow"], case_sensitive=False),
    default="auto",
    show_default=True,
    envvar="CHURN_ENGINE",
    show_envvar=True,
    help="Inference engine. auto: TensorFlow if it finds a GPU, otherwise ONNX Runtime.",
)
