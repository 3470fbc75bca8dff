"""`churn models`: list, inspect, verify, promote and roll back model versions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from churn.errors import ChurnError, RegistryError
from churn.registry import Registry
from cli.options import engine_option, models_option

if TYPE_CHECKING:
    from pathlib import Path

    from churn.engines import EngineChoice


@click.group()
def models() -> None:
    """List, inspect, verify, promote and roll back model versions."""


@models.command("list")
@models_option
def list_models(models: Path) -> None:
    """List all versions; the current one is marked with a star.

    Example: churn models list
    """
    from churn.bundle import read_bundle

    registry = Registry(models)
    versions = registry.versions()
    if not versions:
        raise RegistryError(f"{models}: there is no model")
    current = _current_or_none(registry)
    click.echo("  version  created                    network    test log loss  test AUC  data")
    for version in versions:
        star = "*" if version == current else " "
        try:
            content = read_bundle(registry.folder(version)).manifest.content
        except ChurnError as error:
            click.echo(f"{star} {version:>7}  unusable: {error}")
            continue
        test = content["metrics"].get("test", {})
        scores = f"{test['log_loss']:>13.4f}  {test['roc_auc']:>8.4f}" if test else f"{'-':>13}  {'-':>8}"
        name = content["network"]["name"]
        click.echo(f"{star} {version:>7}  {content['created']:<25}  {name:<9}  {scores}  {content['data']['file']}")


@models.command()
@click.argument("version", type=int, required=False)
@models_option
def show(version: int | None, models: Path) -> None:
    """Print the manifest of VERSION as JSON (default: the current version).

    Example: churn models show 1
    """
    from churn.bundle import read_bundle

    content = read_bundle(_folder(Registry(models), version)).manifest.content
    left_out = {"preprocessing", "histograms", "score_histogram", "golden"}
    shown = {key: value for key, value in content.items() if key not in left_out}
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


@models.command()
@click.argument("version", type=int)
@models_option
@engine_option
def promote(version: int, models: Path, engine: EngineChoice) -> None:
    """Load VERSION as the service does, and make it current.

    Running services load it, verify it and switch to it within seconds, without losing a request.

    Example: churn models promote 1
    """
    from service.rollout.loading import load_model

    registry = Registry(models)
    load_model(registry.folder(version), engine)
    registry.promote(version)
    click.echo(f"version {version} is current")


@models.command()
@models_option
@engine_option
def rollback(models: Path, engine: EngineChoice) -> None:
    """Load the previously current version as the service does, and make it current again.

    Example: churn models rollback
    """
    from service.rollout.loading import load_model

    version = Registry(models).rollback(lambda folder: load_model(folder, engine))
    click.echo(f"version {version} is current again")


@models.command()
@click.argument("version", type=int, required=False)
@models_option
@engine_option
def verify(version: int | None, models: Path, engine: EngineChoice) -> None:
    """Check the hashes of VERSION (default: all versions), load it as the service does and re-score its golden rows.

    Example: churn models verify
    """
    from service.rollout.loading import load_model

    registry = Registry(models)
    versions = [version] if version is not None else registry.versions()
    if not versions:
        raise RegistryError(f"{models}: there is no model")
    refused = 0
    for each in versions:
        try:
            scorer = load_model(registry.folder(each), engine).scorer
        except ChurnError as error:
            refused += 1
            click.echo(f"version {each}: failed: {error}", err=True)
            continue
        rows = len(scorer.manifest.golden)
        click.echo(f"version {each}: all files match their hashes, {rows} golden rows match ({scorer.engine.name})")
    if refused:
        raise RegistryError(f"{models}: {refused} of {len(versions)} versions failed verification")


def _folder(registry: Registry, version: int | None) -> Path:
    return registry.current_folder() if version is None else registry.folder(version)


def _current_or_none(registry: Registry) -> int | None:
    try:
        return registry.current()
    except RegistryError:
        return None
