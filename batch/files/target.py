"""Where a job's result goes: files that appear under their names when all of it is whole."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyarrow import fs

from batch.files.formats import Format, find_format
from batch.files.locations import InputFile, Place, locate
from churn.errors import TableError
from churn.runtime.files import sync

if TYPE_CHECKING:
    from batch.files.source import Source

IfExists = Literal["fail", "replace"]

REJECTS_ENDING = ".rejects"


@dataclass(frozen=True, slots=True)
class Target:
    """The files of a result.

    Attributes
    ----------
    scores, rejects : Place
    form : Format
        Of the scores; rejects are CSV.
    """

    scores: Place
    rejects: Place
    form: Format

    @classmethod
    def find(cls, output: str, rejects: str | None, told: str | None) -> Target:
        """Find the places of a result.

        Parameters
        ----------
        output : str
            A path or URI.
        rejects : str, optional
            Likewise; the output's name with ``.rejects`` if not given.
        told : str, optional
            The form, where the name does not say it.

        Raises
        ------
        TableError
            If a folder is absent or the kind unknown.
        """
        place = locate(output)
        other = place.with_ending(REJECTS_ENDING) if rejects is None else locate(rejects)
        for each in (place, other):
            check_folder(each)
        if place.path == other.path:
            raise TableError(f"{output}: scores and rejects need a file each")
        return cls(place, other, find_format(place.name, told))

    def check_free(self, if_exists: IfExists) -> None:
        """Refuse names that are taken, by a folder at least.

        Raises
        ------
        TableError
        """
        for place in (self.scores, self.rejects):
            kind = place.look().type
            if kind == fs.FileType.Directory:
                raise TableError(f"{place.name}: there is a folder of that name")
            if kind != fs.FileType.NotFound and if_exists == "fail":
                raise TableError(f"{place.name}: the file exists; replace it with --if-exists replace, or name another")

    def check_apart(self, source: Source) -> None:
        """Refuse an output that is the input.

        Raises
        ------
        TableError
        """
        for place in (self.scores, self.rejects):
            for file in source.files:
                if isinstance(file, InputFile) and place.is_same(file.place):
                    raise TableError(f"{place.name}: the output would overwrite the input; name another file")

    def choose_folder(self, work: Path | None) -> Path:
        """Return the folder to work in: beside the output, or in the current one if that is not on this machine."""
        beside = Path(self.scores.path).parent if self.scores.is_local else Path()
        return (work or beside) / f".{self.scores.path.rpartition('/')[2]}.partial"


def check_folder(place: Place) -> None:
    """Refuse a place in a folder that is not there; object stores have none.

    Raises
    ------
    TableError
    """
    parent = Path(place.path).parent
    if place.is_local and not parent.is_dir():
        raise TableError(f"{place.name}: there is no folder {parent}")


def publish(path: Path, place: Place) -> None:
    """Give a finished file on this machine its place, where it appears whole; nothing to do if that was done."""
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
