"""Options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.report import Costs

models_option = click.option(
    "--models",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("models"),
    show_default=True,
    envvar="CHURN_MODELS",
    show_envvar=True,
    help="Folder of the model versions.",
)


def _make_store_option(name: str) -> Callable[..., Any]:
    return click.option(
        name,
        required=True,
        envvar="CHURN_RECORDS",
        show_envvar=True,
        help="Store of the records, as an SQLAlchemy URL. Use the variable to keep a password out of the process list.",
    )


store_option = _make_store_option("--url")
records_option = _make_store_option("--records")
"""The same where the command is not one of `churn records`."""


def make_engine_option(auto: str) -> Callable[..., Any]:
    """Return the option ``--engine``; `auto` says what that value means."""
    return click.option(
        "--engine",
        type=click.Choice(["auto", "onnx", "tensorflow"], case_sensitive=False),
        default="auto",
        show_default=True,
        envvar="CHURN_ENGINE",
        show_envvar=True,
        help=f"Inference engine. auto: {auto}",
    )


engine_option = make_engine_option("TensorFlow if it finds a GPU, otherwise ONNX Runtime.")

_COSTS = {
    "customer_value": click.option(
        "--customer-value", default=200.0, show_default=True, help="Report: value of a retained customer."
    ),
    "offer_cost": click.option(
        "--offer-cost", default=10.0, show_default=True, help="Report: cost of an accepted offer."
    ),
    "contact_cost": click.option(
        "--contact-cost", default=1.0, show_default=True, help="Report: cost of contacting one customer."
    ),
    "accept_rate": click.option(
        "--accept-rate",
        default=0.3,
        show_default=True,
        type=click.FloatRange(0, 1),
        help="Report: fraction of would-be leavers who accept an offer.",
    ),
}


def costs_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `pop_costs` reads to a command."""
    for option in reversed(_COSTS.values()):
        command = option(command)
    return command


def pop_costs(chosen: dict[str, Any]) -> Costs:
    """Remove the options of `costs_options` from a command's options and return them."""
    from training.report.data import Costs

    return Costs(**{name: chosen.pop(name) for name in _COSTS})
