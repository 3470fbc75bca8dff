"""`churn models`: list, inspect, sign, verify, promote and roll back model versions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churn.errors import ChurnError, RegistryError
from churn.registry import Registry
from cli.options import engine_option, make_engine_option, models_option
from cli.signing import keygen, sign

if TYPE_CHECKING:
    from churn.bundle import Bundle
    from churn.engines import EngineChoice


@click.group()
def models() -> None:
    """List, inspect, sign, verify, promote and roll back model versions.

    If CHURN_TRUSTED_KEYS is set, only versions that one of these keys has signed are read.
    """


models.add_command(keygen)
models.add_command(sign)


@models.command("list")
@models_option
def list_models(models: Path) -> None:
    """List all versions; the current one is marked with a star.

    Example: churn models list
    """
    from churn.bundle import read_bundle
    from churn.trust.signatures import Trust

    trust = Trust(Trust.from_environment().load())  # keys that can't be read are no fault of a version
    registry = Registry(models)
    versions = registry.versions()
    if not versions:
        raise RegistryError(f"{models}: there is no model")
    current = registry.find_current()
    click.echo("  version  created                    network    test log loss  test AUC  signed by         data")
    for version in versions:
        star = "*" if version == current else " "
        try:
            bundle = read_bundle(registry.folder(version), trust)
        except ChurnError as error:
            click.echo(f"{star} {version:>7}  unusable: {error}")
            continue
        content = bundle.manifest.content
        test = content["metrics"].get("test", {})
        scores = f"{test['log_loss']:>13.4f}  {test['roc_auc']:>8.4f}" if test else f"{'-':>13}  {'-':>8}"
        name = content["network"]["name"]
        signers = _describe_signers(bundle)
        click.echo(
            f"{star} {version:>7}  {content['created']:<25}  {name:<9}  {scores}  {signers:<16}  "
            f"{content['data']['file']}"
        )


@models.command()
@click.argument("version", type=int, required=False)
@models_option
def show(version: int | None, models: Path) -> None:
    """Print the manifest of VERSION as JSON (default: the current version), and who signed it.

    Example: churn models show 1
    """
    from churn.bundle import read_bundle

    bundle = read_bundle(_folder(Registry(models), version))
    content = bundle.manifest.content
    left_out = {"preprocessing", "histograms", "score_histogram", "golden"}
    shown = {key: value for key, value in content.items() if key not in left_out}
    shown["signature"] = {"required": bundle.signers.required, "signed_by": bundle.signers.keys}
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
@make_engine_option("each one that is installed, which are then compared.")
@click.option(
    "--trusted-keys",
    type=click.Path(exists=True, path_type=Path),
    envvar="CHURN_TRUSTED_KEYS",
    show_envvar=True,
    help="File or folder of public keys, one of which must have signed the version.",
)
def verify(version: int | None, models: Path, engine: EngineChoice, trusted_keys: Path | None) -> None:
    """Check VERSION (default: all versions) as the service does before it serves it, and further.

    Checks signature, manifest and hashes; loads the version and scores its golden rows again. Lists files that the
    manifest does not. Compares the probabilities of ONNX Runtime and TensorFlow, if both are installed.

    Example: churn models verify --trusted-keys model-key.pem.pub
    """
    from cli.verification import verify_version

    registry = Registry(models)
    versions = [version] if version is not None else registry.versions()
    if not versions:
        raise RegistryError(f"{models}: there is no model")
    refused = 0
    for each in versions:
        try:
            for line in verify_version(registry.folder(each), engine, trusted_keys):
                click.echo(f"version {each}: {line}")
        except ChurnError as error:
            refused += 1
            click.echo(f"version {each}: failed: {error}", err=True)
    if refused:
        raise RegistryError(f"{models}: {refused} of {len(versions)} versions failed verification")


def _describe_signers(bundle: Bundle) -> str:
    """Return who signed a version, in a word."""
    from churn.trust.signatures import SIGNATURE

    if bundle.signers.required:
        return ",".join(bundle.signers.keys)
    return "not checked" if os.path.lexists(bundle.folder / SIGNATURE) else "-"


def _folder(registry: Registry, version: int | None) -> Path:
    return registry.current_folder() if version is None else registry.folder(version)
