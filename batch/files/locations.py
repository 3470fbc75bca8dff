"""Locations of files: on this machine, or a URI of an object store or HDFS that pyarrow supports."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from pyarrow import fs

from churn.errors import TableError
from churn.names import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence

STANDARD = "-"
"""The name of standard input and standard output."""

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""Hive's folder name for rows whose partition column is null."""

open_uri = fs.FileSystem.from_uri

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MAGIC = re.compile(r"[*?\[]")
_PASSWORD = re.compile(r"//[^/@]*@")


@dataclass(frozen=True, slots=True)
class Location:
    """A path in a file system.

    Attributes
    ----------
    system : pyarrow.fs.FileSystem
    path : str
        In the syntax of the file system.
    name : str
        For messages; contains no password.
    """

    system: fs.FileSystem
    path: str
    name: str

    @property
    def is_local(self) -> bool:
        """Whether the location is on this machine."""
        return isinstance(self.system, fs.LocalFileSystem)

    def look(self) -> fs.FileInfo:
        """Return the file system's information about the path."""
        return self.system.get_file_info([self.path])[0]

    def is_same(self, other: Location) -> bool:
        """Return whether another location is the same file, even under a different name."""
        if self.is_local and other.is_local:
            return Path(self.path).exists() and Path(other.path).exists() and Path(self.path).samefile(other.path)
        return self.path == other.path and self.system.equals(other.system)

    def with_ending(self, ending: str) -> Location:
        """Return the location with `ending` appended to its name."""
        return Location(self.system, self.path + ending, self.name + ending)

    def beside(self, bare: str) -> Location:
        """Return the location with the name `bare` in the same folder."""
        return Location(self.system, _join(self.path, bare), _join(self.name, bare))


@dataclass(frozen=True, slots=True)
class InputFile:
    """An input file.

    Attributes
    ----------
    place : Location
    size : int
        Size in bytes.
    modified : int
        Modification time in nanoseconds; 0 if the file system does not report it.
    partitions : tuple of (str, str or None)
        Columns and values from the names of folders, such as ``country=Spain/part-0.parquet``.
    """

    place: Location
    size: int
    modified: int
    partitions: tuple[tuple[str, str | None], ...] = ()
    can_reopen: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.place.name

    def open(self) -> Any:  # noqa: ANN401  Arrow has no types for mypy
        """Open the file for random access."""
        return self.place.system.open_input_file(self.place.path)

    @property
    def is_unchanged(self) -> bool:
        """Return whether size and modification time are unchanged."""
        info = self.place.look()
        return (info.size, info.mtime_ns or 0) == (self.size, self.modified)


def locate(name: str) -> Location:
    """Find the file system of a path or URI.

    Raises
    ------
    TableError
        If the URI is invalid or pyarrow does not support its file system.
    """
    if not _URI.match(name):
        return Location(fs.LocalFileSystem(), name, name)
    told = hide_password(name.partition("?")[0])
    try:
        system, path = open_uri(name)
    except Exception as error:  # each file system raises its own
        raise TableError(f"{told}: can't be opened: {hide_password(str(error))}") from error
    return Location(system, path, told)


def find_files(name: str) -> list[InputFile]:
    """Return the files of an input in the order of their paths.

    Parameters
    ----------
    name : str
        A file, a folder or a glob (``*``, ``?``, ``[…]``, ``**`` for any number of folders); a path or a URI.

    Raises
    ------
    TableError
        If there are none.
    """
    place = locate(name) if _URI.match(name) is None or not _MAGIC.search(name) else None
    if place is not None:
        info = place.look()
        if info.type == fs.FileType.File:
            return [_describe(place, info, _read_partitions(place.path))]
        if info.type == fs.FileType.Directory:
            return _require(_find_in_folder(place), name, "the folder contains no files")
    if not _MAGIC.search(name):
        raise TableError(f"{name}: no such file")
    return _require(_find_by_glob(name), name, "no file matches")


def _require(files: list[InputFile], name: str, otherwise: str) -> list[InputFile]:
    if not files:
        raise TableError(f"{name}: {otherwise}")
    return files


def _find_in_folder(folder: Location) -> list[InputFile]:
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
            place = _rename(folder, info.path) if base else Location(folder.system, inner, inner)
            files.append(_describe(place, info, _read_partitions(inner)))
    return files


def _split_glob(name: str) -> tuple[str, str]:
    """Split a glob before the first path component with a wildcard."""
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


def _list(folder: Location) -> list[Any]:
    found = folder.system.get_file_info(fs.FileSelector(folder.path, recursive=True))
    return sorted((info for info in found if info.type == fs.FileType.File), key=lambda info: info.path)


def _rename(folder: Location, path: str) -> Location:
    """Return the location of a file in a folder, with a name in the folder's notation."""
    return Location(folder.system, path, folder.name.rstrip("/") + path[len(folder.path.rstrip("/")) :])


def _is_hidden(inner: str) -> bool:
    """Return whether a file is private to another program by convention: ``_SUCCESS``, ``.crc``, unfinished files."""
    return any(part.startswith((".", "_")) and "=" not in part for part in inner.split("/"))


def _read_partitions(path: str) -> tuple[tuple[str, str | None], ...]:
    """Return the partition columns in a path."""
    folders = (part.partition("=") for part in path.split("/")[:-1])
    return tuple(
        (normalize(unquote(n)), None if v == NULL_PARTITION else unquote(v)) for n, sign, v in folders if n and sign
    )


def _describe(place: Location, info: fs.FileInfo, partitions: Sequence[tuple[str, str | None]]) -> InputFile:
    return InputFile(place, info.size, info.mtime_ns or 0, tuple(partitions))


def _join(path: str, bare: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{bare}"


def hide_password(name: str) -> str:
    """Return a URI without user name and password."""
    return _PASSWORD.sub("//", name)
