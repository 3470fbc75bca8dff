"""Output locations of a job: files appear under their final names only when all are complete."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyarrow import fs

from batch.files.formats import Format, find_format
from batch.files.locations import InputFile, Location, locate
from churn.errors import TableError
from churn.runtime.files import sync

if TYPE_CHECKING:
    from batch.files.source import Source

IfExists = Literal["fail", "replace"]

REJECTS_ENDING = ".rejects"


@dataclass(frozen=True, slots=True)
class Target:
    """The output files of a job.

    Attributes
    ----------
    scores, rejects : Location
    form : Format
        Format of the scores; rejects are CSV.
    """

    scores: Location
    rejects: Location
    form: Format

    @classmethod
    def find(cls, output: str, rejects: str | None, told: str | None) -> Target:
        """Determine the output files.

        Parameters
        ----------
        output : str
            A path or URI.
        rejects : str, optional
            A path or URI. Defaults to the output's name with ``.rejects`` appended.
        told : str, optional
            The format. Defaults to the format given by the file name.

        Raises
        ------
        TableError
            If a folder does not exist or the format is unknown.
        """
        place = locate(output)
        other = place.with_ending(REJECTS_ENDING) if rejects is None else locate(rejects)
        for each in (place, other):
            check_folder(each)
        if place.path == other.path:
            raise TableError(f"{output}: scores and rejects need different files")
        return cls(place, other, find_format(place.name, told))

    def check_free(self, if_exists: IfExists) -> None:
        """Raise an error if an output exists and may not be replaced, or is a folder.

        Raises
        ------
        TableError
        """
        for place in (self.scores, self.rejects):
            kind = place.look().type
            if kind == fs.FileType.Directory:
                raise TableError(f"{place.name}: a folder with this name exists")
            if kind != fs.FileType.NotFound and if_exists == "fail":
                raise TableError(f"{place.name}: the file exists; use --if-exists replace or another name")

    def check_apart(self, source: Source) -> None:
        """Raise an error if an output is also an input.

        Raises
        ------
        TableError
        """
        for place in (self.scores, self.rejects):
            for file in source.files:
                if isinstance(file, InputFile) and place.is_same(file.place):
                    raise TableError(f"{place.name}: the output would overwrite the input; use another name")

    def choose_folder(self, work: Path | None) -> Path:
        """Return the working folder: next to the output, or in the current folder if the output is not local."""
        beside = Path(self.scores.path).parent if self.scores.is_local else Path()
        return (work or beside) / f".{self.scores.path.rpartition('/')[2]}.partial"


def check_folder(place: Location) -> None:
    """Raise an error if the folder of a location does not exist; object stores have no folders.

    Raises
    ------
    TableError
    """
    parent = Path(place.path).parent
    if place.is_local and not parent.is_dir():
        raise TableError(f"{place.name}: the folder {parent} does not exist")


def publish(path: Path, place: Location) -> None:
    """Move a finished local file to its final location atomically; does nothing if it has been moved."""
    if not path.exists():
        return
    if place.is_local:
        try:
            path.replace(place.path)
            sync(Path(place.path).parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            return
    aside = place.beside(f".{place.path.rpartition('/')[2]}.partial")
    fs.copy_files(str(path), aside.path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=aside.system)
    place.system.move(aside.path, place.path)
    path.unlink()
