"""Where files are: on this machine, or in an object store or HDFS that pyarrow knows by its URI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from pyarrow import fs

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Sequence

STANDARD = "-"
"""The name of standard input and standard output."""

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""What Hive names the folder of the rows whose partition column is null."""

open_uri = fs.FileSystem.from_uri

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MAGIC = re.compile(r"[*?\[]")
_PASSWORD = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a file system.

    Attributes
    ----------
    system : pyarrow.fs.FileSystem
    path : str
        As that file system writes it.
    name : str
        As messages write it; holds no password.
    """

    system: fs.FileSystem
    path: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return isinstance(self.system, fs.LocalFileSystem)

    def look(self) -> fs.FileInfo:
        """Ask the file system what is there."""
        return self.system.get_file_info([self.path])[0]

    def is_same(self, other: Place) -> bool:
        """Say whether another place is the same file, under whatever name."""
        if self.is_local and other.is_local:
            return Path(self.path).exists() and Path(other.path).exists() and Path(self.path).samefile(other.path)
        return self.path == other.path and self.system.equals(other.system)

    def with_ending(self, ending: str) -> Place:
        """Return the place whose name is longer by `ending`."""
        return Place(self.system, self.path + ending, self.name + ending)

    def beside(self, bare: str) -> Place:
        """Return the place of another name in the same folder."""
        return Place(self.system, _join(self.path, bare), _join(self.name, bare))


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be read.

    Attributes
    ----------
    place : Place
    size : int
        In bytes.
    modified : int
        When, in nanoseconds; 0 where the file system does not know.
    partitions : tuple of (str, str or None)
        Columns that the folders' names tell, as in ``country=Spain/part-0.parquet``, and their values.
    """

    place: Place
    size: int
    modified: int
    partitions: tuple[tuple[str, str | None], ...] = ()
    can_reopen: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """As messages write it."""
        return self.place.name

    def open(self) -> Any:  # noqa: ANN401  Arrow has no types for mypy
        """Open it for reading from any byte."""
        return self.place.system.open_input_file(self.place.path)

    @property
    def is_unchanged(self) -> bool:
        """Whether size and time are still the same."""
        info = self.place.look()
        return (info.size, info.mtime_ns or 0) == (self.size, self.modified)


def locate(name: str) -> Place:
    """Find the file system of a path or URI.

    Raises
    ------
    TableError
        If the URI is of a file system that pyarrow does not know, or can't be read.
    """
    if not _URI.match(name):
        return Place(fs.LocalFileSystem(), name, name)
    told = hide_password(name.partition("?")[0])
    try:
        system, path = open_uri(name)
    except Exception as error:  # each file system's own
        raise TableError(f"{told}: can't be opened: {hide_password(str(error))}") from error
    return Place(system, path, told)


def find_files(name: str) -> list[InputFile]:
    """Find the files of an input, in the order of their paths.

    Parameters
    ----------
    name : str
        A file, a folder or a glob (``*``, ``?``, ``[…]``, ``**`` for any number of folders); a path or a URI.

    Raises
    ------
    TableError
        If there is none.
    """
    place = locate(name) if _URI.match(name) is None or not _MAGIC.search(name) else None
    if place is not None:
        info = place.look()
        if info.type == fs.FileType.File:
            return [_describe(place, info, _read_partitions(place.path))]
        if info.type == fs.FileType.Directory:
            return _require(_find_in_folder(place), name, "the folder holds no file")
    if not _MAGIC.search(name):
        raise TableError(f"{name}: there is no such file")
    return _require(_find_by_glob(name), name, "no file fits")


def _require(files: list[InputFile], name: str, otherwise: str) -> list[InputFile]:
    if not files:
        raise TableError(f"{name}: {otherwise}")
    return files


def _find_in_folder(folder: Place) -> list[InputFile]:
    files = []
    for info in _list(folder):
        inner = info.path[len(folder.path.rstrip("/")) + 1 :]
        if not _is_hidden(inner):
            files.append(_describe(_rename(folder, info.path), info, _read_partitions(inner)))
    return files


def _find_by_glob(name: str) -> list[InputFile]:
    base, pattern = _split_glob(name)
    folder = locate(base or ".")
    if folder.look().type != fs.FileType.Directory:
        return []
    wanted = _translate(pattern)
    files = []
    for info in _list(folder):
        inner = info.path[len(folder.path.rstrip("/")) + 1 :]
        if wanted.fullmatch(inner):
            place = _rename(folder, info.path) if base else Place(folder.system, inner, inner)
            files.append(_describe(place, info, _read_partitions(inner)))
    return files


def _split_glob(name: str) -> tuple[str, str]:
    """Split a glob before the first part of the path that has a wildcard."""
    match = _MAGIC.search(name)
    start = match.start() if match else len(name)
    cut = name.rfind("/", 0, start)
    base = name[: cut + 1]
    return (base if base == "/" or base.endswith("://") else base.rstrip("/")), name[cut + 1 :]


def _translate(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])", pattern)
    return re.compile("".join(map(_translate_part, parts)))


def _translate_part(part: str) -> str:
    if part.startswith("["):
        return part.replace("[!", "[^")
    words = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return words.get(part) or re.escape(part)


def _list(folder: Place) -> list[Any]:
    found = folder.system.get_file_info(fs.FileSelector(folder.path, recursive=True))
    return sorted((info for info in found if info.type == fs.FileType.File), key=lambda info: info.path)


def _rename(folder: Place, path: str) -> Place:
    """Return the place of a file in a folder, named as the folder is."""
    return Place(folder.system, path, folder.name.rstrip("/") + path[len(folder.path.rstrip("/")) :])


def _is_hidden(inner: str) -> bool:
    """Say whether other programs, too, take a file for their own: ``_SUCCESS``, ``.crc``, what is not yet whole."""
    return any(part.startswith((".", "_")) and "=" not in part for part in inner.split("/"))


def _read_partitions(path: str) -> tuple[tuple[str, str | None], ...]:
    """Read the columns that a path's folders tell."""
    folders = (part.partition("=") for part in path.split("/")[:-1])
    return tuple((unquote(n), None if v == NULL_PARTITION else unquote(v)) for n, sign, v in folders if n and sign)


def _describe(place: Place, info: fs.FileInfo, partitions: Sequence[tuple[str, str | None]]) -> InputFile:
    return InputFile(place, info.size, info.mtime_ns or 0, tuple(partitions))


def _join(path: str, bare: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{bare}"


def hide_password(name: str) -> str:
    """Return a URI without user and password."""
    return _PASSWORD.sub("//", name)
