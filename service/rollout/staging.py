"""Verified private copies of the model versions that are served or about to be."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from churn.bundle import copy_bundle
from churn.errors import RegistryError
from churn.registry import Registry
from churn.runtime.private_folder import private_folder
from churn.trust.signatures import SIGNATURE, Trust
from service.rollout.messages import Staged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PREFIX = "churn-models-"


class Staging:
    """Copies of model versions in a private folder.

    All workers load from the copies, also those that start later, so that what happens to the folder of the models
    changes nothing that is served.

    Parameters
    ----------
    registry : Registry
    folder : Path
        Private folder of the service.
    """

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.registry = registry
        self.folder = folder

    def stage(self, version: int, trust: Trust | None = None) -> Staged:
        """Copy a version and verify the copy. An equal copy that exists is used again, with the new signature.

        Parameters
        ----------
        version : int
        trust : Trust, optional
            The keys one of which must have signed the version. By default those of the environment.

        Raises
        ------
        BundleError
            If a file differs from the manifest, or a signature is required and missing or wrong; the message names it.
        KeyFileError
            If the trusted keys can't be read.
        RegistryError
            If the version does not exist, or the copy can't be written.
        """
        source = self.registry.folder(version)
        incoming = self.folder / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        try:
            incoming.mkdir(mode=0o700)
            digest = copy_bundle(source, incoming / source.name, trust)
            target = self.folder / digest
            if target.exists():
                if (incoming / source.name / SIGNATURE).exists():  # perhaps signed anew, by other keys
                    (incoming / source.name / SIGNATURE).replace(target / source.name / SIGNATURE)
                shutil.rmtree(incoming)
            else:
                incoming.rename(target)
        except OSError as error:
            shutil.rmtree(incoming, ignore_errors=True)
            raise RegistryError(f"{source}: can't be copied to {self.folder}: {error.strerror}") from error
        return Staged(version, digest, str(target / source.name))

    def keep_only(self, models: Collection[Staged]) -> None:
        """Remove the copies of all other models."""
        kept = {model.digest for model in models}
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def show(self, text: str, model: Staged) -> str:
        """Return a message with the folder of the version in place of the copy's."""
        return text.replace(model.folder, str(self.registry.root / str(model.version)))


@contextmanager
def open_staging(models: Path) -> Iterator[Staging]:
    """Create the private folder of a service, and remove it after the block.

    Raises
    ------
    RegistryError
        If it can't be created.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(private_folder(PREFIX))
        except OSError as error:
            raise RegistryError(f"no folder for copies of the models can be created: {error}") from error
        yield Staging(Registry(models), folder)


def remove_staging(model: Staged) -> None:
    """Remove the private folder from a worker that outlives its supervisor."""
    shutil.rmtree(Path(model.folder).parents[1], ignore_errors=True)
