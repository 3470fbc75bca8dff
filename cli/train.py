"""`churn train`: train a model on a table and publish it as the next version."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churn.registry import Registry
from cli.dataset import dataset_options, load_from_options, print_dataset
from cli.extras import require_extra
from cli.options import costs_options, models_option, pop_costs
from cli.recorded import load_from_records, mask, pop_recorded_options, recorded_options
from cli.signing import sign_key_type
from cli.streaming import open_from_options, pop_streaming_options, streaming_options

if TYPE_CHECKING:
    from churn.trust.keys import SigningKey
    from training.dataset import Dataset
    from training.job import Options, Outcome


FEW_FOUND = 0.1
"""Share of the leavers of the last part that the threshold must find for no hint to be printed."""


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@models_option
@click.option(
    "--network",
    type=click.Choice(["default", "reference"]),
    default="default",
    show_default=True,
    help="Network to train; reference is the network of well-known tutorials on the public bank table.",
)
@dataset_options
@click.option(
    "--write-schema",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the inferred schema to this TOML file for editing, and exit.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed.")
@click.option(
    "--test-size",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="Fraction of the rows held out as the test set; 0 for none.",
)
@click.option(
    "--validation-size",
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Fraction of the remaining rows in each validation fold of the default network.  [default: 0.2, five folds]",
)
@click.option(
    "--threshold",
    default=0.5,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="A customer is predicted to leave above this probability.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with hyperparameters of the default network in a table [network].",
)
@streaming_options
@recorded_options
@click.option("--quick", is_flag=True, help="Train in seconds: boosted trees of one depth and a linear model.")
@click.option(
    "--best", is_flag=True, help="Try further configurations for --minutes and keep the best by out-of-fold log loss."
)
@click.option(
    "--minutes",
    type=click.FloatRange(0, min_open=True),
    help="Time limit for --best; the first configuration is always completed.",
)
@click.option(
    "--budget",
    type=click.FloatRange(5, 10_000),
    metavar="MICROSECONDS",
    help="Time limit of the network for a single row on one core. A stack that takes longer is distilled into a small "
    "network, with a warning if that can't follow it.  [default: none; the stack takes up to about 60]",
)
@click.option(
    "--warm-start",
    type=int,
    metavar="VERSION",
    help="Start from this version: use its features and tree depth, or the weights of a reference network.",
)
@click.option("--promote/--no-promote", default=True, show_default=True, help="Make the new version current.")
@click.option(
    "--sign-key",
    type=sign_key_type,
    envvar="CHURN_SIGN_KEY",
    show_envvar=True,
    help="Sign the new version with this private key (churn models keygen).",
)
@costs_options
@require_extra("train,tensorflow")
def train(
    data: Path | None,
    models: Path,
    write_schema: Path | None,
    config_file: Path | None,
    **chosen: Any,  # noqa: ANN401  options of click
) -> None:
    """Train a network on DATA (.csv, .parquet or a folder of .parquet) and publish it as the next version.

    Prints how each column is used and why a column is dropped. Instead of a table, --from-records trains on recorded
    customers whose outcomes were loaded.

    Example: churn train mybank.csv --label left --id client_no
    """
    if config_file and chosen["network"] != "default":
        raise click.UsageError(f"--config needs the default network, not --network {chosen['network']}")
    _check_effort(chosen)
    recorded = pop_recorded_options(data, write_schema, chosen)
    chosen["sign_key"] = _read_sign_key(chosen["sign_key"], promote=chosen["promote"])
    if recorded is not None:
        Registry(models).require_writable()
        dataset = load_from_records(recorded, models, chosen)
        print_dataset(dataset)
        _train_in_memory(dataset, models, config_file, chosen, shlex.join(["churn", *mask(sys.argv[1:], recorded)]))
        return
    assert data is not None  # noqa: S101  `pop_recorded_options` has looked
    streaming = pop_streaming_options(data, chosen)
    if write_schema is None:
        Registry(models).require_writable()  # now, and not after hours of training
    if streaming is not None:
        with open_from_options(data, chosen, streaming) as table:
            if not _stop_at_schema(table.sample, write_schema):
                from training.streaming import job as streamed

                if chosen["minutes"] is not None:
                    raise click.UsageError("--best needs the table in memory; add --in-memory")
                _report(streamed.train(table, models, _make_options(config_file, chosen), streaming, _command()))
        return
    dataset = load_from_options(data, chosen)
    if not _stop_at_schema(dataset, write_schema):
        _train_in_memory(dataset, models, config_file, chosen, _command())


def _train_in_memory(
    dataset: Dataset, models: Path, config_file: Path | None, chosen: dict[str, Any], command: str
) -> None:
    from training import job

    _report(job.train(dataset, models, _make_options(config_file, chosen), command, click.echo))


def _read_sign_key(path: Path | None, *, promote: bool) -> SigningKey | None:
    """Read the key before the training, and check that the version may become current."""
    from churn.errors import KeyFileError
    from churn.trust.keys import read_signing_key
    from churn.trust.signatures import TRUSTED_KEYS, Trust

    key = None if path is None else read_signing_key(path)
    trusted = Trust.from_environment().load()
    if promote and trusted is not None and (key is None or key.identifier not in trusted.keys):
        signer = "it would be unsigned" if key is None else f"it would be signed by {key.identifier}"
        raise KeyFileError(
            f"the new version can't become current: {signer}, but {TRUSTED_KEYS} trusts "
            f"{', '.join(trusted.keys)}; give one of these keys, or --no-promote and sign the version later"
        )
    return key


def _stop_at_schema(dataset: Dataset, write_schema: Path | None) -> bool:
    """Print the columns; with `--write-schema`, write the schema and return True."""
    print_dataset(dataset)
    if write_schema is None:
        return False
    from training.schema_file import write_schema_file

    write_schema_file(write_schema, dataset.schema)
    click.echo(f"\nwrote the schema to {write_schema}; edit it, then train with --schema {write_schema}")
    return True


def _make_options(config_file: Path | None, chosen: dict[str, Any]) -> Options:
    from training.default.config import Config, read_config
    from training.default.presets import limit_time, make_quick
    from training.job import Options

    config = read_config(config_file) if config_file else Config()
    validation_size, budget = chosen.pop("validation_size"), chosen.pop("budget")
    if validation_size is not None:
        config = replace(config, folds=max(2, round(1 / validation_size)))
    if chosen.pop("quick"):
        config = make_quick(config)
    if budget is not None:
        config = limit_time(config, budget)
    chosen.pop("best")
    return Options(costs=pop_costs(chosen), **chosen, config=config)


def _check_effort(chosen: dict[str, Any]) -> None:
    """Raise an error if --quick, --best, --minutes and --budget contradict each other."""
    if chosen["best"] != (chosen["minutes"] is not None):
        raise click.UsageError("--best and --minutes go together: --best --minutes 30")
    if chosen["best"] and (chosen["quick"] or chosen["warm_start"] is not None):
        raise click.UsageError("--best can't be combined with --quick or --warm-start")
    named = [f"--{name}" for name in ("quick", "best", "budget") if chosen[name]]
    if named and chosen["network"] != "default":
        raise click.UsageError(f"{named[0]} needs the default network, not --network {chosen['network']}")


def _command() -> str:
    return shlex.join(["churn", *sys.argv[1:]])


def _report(outcome: Outcome) -> None:
    for warning in outcome.trained.fitted.result.warnings:
        click.echo(f"\nWARNING: {warning}")
    for note in outcome.trained.fitted.result.notes:
        click.echo(f"  {note}")
    _print_stack(outcome)
    _print_scores(outcome)
    if outcome.trained.settings["network"] == "reference":
        from training import tutorial

        click.echo(tutorial.summarize(outcome.trained.dataset, outcome))
    promoted = " and made it current" if outcome.promoted else ""
    click.echo(f"\npublished version {outcome.version} in {outcome.folder}{promoted}")


def _print_stack(outcome: Outcome) -> None:
    """Print the parts of the default network with weights and losses, its size and inference time."""
    details = outcome.trained.fitted.result.details
    if not details:
        return
    from training.report.families import CORRECTION

    losses, choice = details["out_of_fold"], details["choice"]
    wide = max(map(len, losses))
    click.echo(f"\n{'out of fold':<{wide}}{'log loss':>10}{'weight':>10}")
    for name, loss in losses.items():
        weight = details["stack"].get(name)
        alone = "-" if name == CORRECTION else f"{loss:.4f}"
        click.echo(f"{name:<{wide}}{alone:>10}" + ("" if weight is None else f"{weight:>10.2f}"))
    size = sum(path.stat().st_size for path in outcome.folder.glob("model.*")) / 2e6
    if "student" in details:
        kind = (
            f"a student of the stack: hidden layers of {' and '.join(map(str, details['student']['hidden']))} units, "
        )
    elif not any(details["stack"].values()):
        kind = "the share of leavers: "
    else:
        kind = f"the stack itself: {details['trees']:,} trees of depth {choice['depth']} at most, "
    click.echo(
        f"the network is {kind}{outcome.trained.fitted.result.model.count_params():,} weights, {size:.1f} MB, "
        f"{outcome.microseconds:.0f} µs per row"
    )


def _print_scores(outcome: Outcome) -> None:
    names = ("log_loss", "roc_auc", "average_precision", "accuracy", "brier_score", "calibration_error", "lift")
    click.echo("\n" + f"{'':<18}" + "".join(f"{part:>12}" for part in outcome.scores))
    for name in names:
        values = "".join(f"{getattr(scores, name):>12.4f}" for scores in outcome.scores.values())
        click.echo(f"{name.replace('_', ' '):<18}{values}")
    for part, scores in outcome.scores.items():
        (stay_right, stay_wrong), (leave_wrong, leave_right) = scores.confusion_matrix
        click.echo(
            f"{part}: {leave_right:,} of {leave_wrong + leave_right:,} leavers found; "
            f"{stay_wrong:,} of {stay_right + stay_wrong:,} stayers predicted to leave"
        )
    if leave_right < FEW_FOUND * (leave_wrong + leave_right):
        click.echo(
            f"Few leavers have a probability above the threshold of {outcome.trained.settings['threshold']:g}: rank "
            "customers by probability, or set --threshold; the report compares thresholds."
        )
    click.echo(f"TensorFlow and ONNX Runtime differ by at most {outcome.engine_difference:.1e}")
