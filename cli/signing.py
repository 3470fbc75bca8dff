"""`churn models keygen` and `churn models sign`: keys, and signatures of model versions."""

from __future__ import annotations

from pathlib import Path

import click

from churn.registry import Registry
from cli.options import models_option

sign_key_type = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def keygen(file: Path) -> None:
    """Write a new Ed25519 key pair: the private key to FILE, the public one to FILE.pub. Overwrites nothing.

    FILE is not encrypted, and only you can read it: keep it where models are trained. FILE.pub is for
    CHURN_TRUSTED_KEYS.

    Example: churn models keygen model-key.pem
    """
    from churn.trust.keys import write_key_pair

    identifier = write_key_pair(file)
    click.echo(f"wrote the private key {file} and the public key {file}.pub; identifier: {identifier}")


@click.command()
@click.argument("version", type=int, required=False)
@models_option
@click.option("--key", required=True, type=sign_key_type, help="Private key, as churn models keygen writes it.")
def sign(version: int | None, models: Path, key: Path) -> None:
    """Sign VERSION (default: the current version) after checking its manifest and the hashes of its files.

    A version may have signatures by several keys; a new one replaces that by the same key.

    Example: churn models sign 1 --key model-key.pem
    """
    from churn.bundle import sign_bundle
    from churn.trust.keys import read_signing_key

    registry = Registry(models)
    signing_key = read_signing_key(key)
    folder = registry.current_folder() if version is None else registry.folder(version)
    content = sign_bundle(folder, signing_key).content
    click.echo(
        f"version {content['version']} is signed by {signing_key.identifier}: created {content.get('created')}, "
        f"manifest {content['manifest_sha256']}"
    )
