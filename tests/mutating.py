"""Random alterations of a model version: bytes, files, JSON, hashes, signatures. The same seed makes the same one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tampering import sign

from churn.bundle import MANIFEST, ONNX_FILE, REQUIRED_FILES, write_manifest
from churn.trust.signatures import SIGNATURE, write_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from churn.trust.keys import SigningKey

WRONG: list[Any] = [None, True, -1, 0, 10**30, 1e300, -0.5, "", "0.9", "../x", [], {}, [None], {"x": 1}]
"""Values that an entry is replaced by."""

TEXTS = (
    "NaN",
    "Infinity",
    "-1e999",
    "1e-400",
    "null",
    "[" * 500 + "]" * 500,
    '{"a":' * 300 + "1" + "}" * 300,
    '"\\ud800"',
)
"""Texts that an entry is replaced by; not all of them are JSON."""

_DIGEST = re.compile(rb'("manifest_sha256": ")([0-9a-f]{64})(")')


@dataclass(frozen=True)
class Sources:
    """What versions are altered.

    Attributes
    ----------
    version, other : Path
        Folders of two versions with other scores; both are signed by a trusted key, or neither is.
    foreign : SigningKey or None
        A key that nobody trusts, if the versions are signed.
    """

    version: Path
    other: Path
    foreign: SigningKey | None = None


class Mutator:
    """Alters copies of a version.

    Parameters
    ----------
    sources : Sources
    number : int
        Seed of the alteration.
    """

    def __init__(self, sources: Sources, number: int) -> None:
        self._sources = sources
        self._random = np.random.default_rng(number)

    def damage(self, folder: Path) -> str:
        """Alter a copy of the version without new hashes; return what was altered."""
        return self._make([
            self._flip, self._truncate, self._append, self._remove, self._empty, self._exchange, self._link,
            self._replace_by_pipe, self._replace_by_folder, self._take_from_other, self._edit_text,
        ], folder)  # fmt: skip

    def forge(self, folder: Path) -> str:
        """Alter a copy of the version and compute all hashes anew, as a forger would; return what was altered."""
        return self._make([
            self._set_entry, self._set_entry, self._set_entry, self._remove_entry, self._shift_number,
            self._shift_number, self._write_text, self._list_file, self._forge_file, self._forge_file,
            self._forge_version,
        ], folder)  # fmt: skip

    def tamper_with_signature(self, folder: Path) -> None:
        """Do what a forger without a trusted key can do with the signature: nothing, in two of five cases."""
        path, foreign = folder / SIGNATURE, self._sources.foreign
        way = self._random.integers(10)
        if way < 4 or foreign is None or not (folder / MANIFEST).is_file():
            return
        data = (folder / MANIFEST).read_bytes()
        signed = path.read_bytes()
        if way == 4:
            path.unlink()
        elif way == 5:
            path.unlink()
            write_signature(folder, data, foreign)
        elif way == 6:
            write_signature(folder, data, foreign)
        elif way == 7:
            shutil.copy(self._sources.other / SIGNATURE, path)
        elif way == 8:  # the foreign key's signature under the name of the trusted one
            trusted = signed.split()[1]
            path.unlink()
            write_signature(folder, data, foreign)
            path.write_bytes(path.read_bytes().replace(foreign.identifier.encode(), trusted))
        else:
            self._flip_in(path)

    def _make(self, ways: Sequence[Callable[[Path], str]], folder: Path) -> str:
        shutil.copytree(self._sources.version, folder)
        return self._choose(ways)(folder)

    def _choose(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.integers(len(options)))]

    def _choose_file(self, folder: Path) -> Path:
        path: Path = self._choose(sorted(path for path in folder.iterdir() if path.name != SIGNATURE))
        return path

    # --- Without new hashes

    def _flip(self, folder: Path) -> str:
        return f"bytes of {self._flip_in(self._choose_file(folder))}"

    def _flip_in(self, path: Path) -> str:
        data = bytearray(path.read_bytes())
        for position in self._random.integers(len(data), size=self._random.integers(1, 9)):
            data[position] ^= int(self._random.integers(1, 256))
        path.write_bytes(data)
        return path.name

    def _truncate(self, folder: Path) -> str:
        path = self._choose_file(folder)
        data = path.read_bytes()
        path.write_bytes(data[: self._random.integers(len(data))])
        return f"{path.name} truncated"

    def _append(self, folder: Path) -> str:
        path = self._choose_file(folder)
        with path.open("ab") as file:
            file.write(self._random.bytes(int(self._random.integers(1, 100))))
        return f"{path.name} longer"

    def _remove(self, folder: Path) -> str:
        path = self._choose_file(folder)
        path.unlink()
        return f"{path.name} removed"

    def _empty(self, folder: Path) -> str:
        path = self._choose_file(folder)
        path.write_bytes(b"")
        return f"{path.name} empty"

    def _exchange(self, folder: Path) -> str:
        one, two = self._choose_file(folder), self._choose_file(folder)
        contents = one.read_bytes(), two.read_bytes()
        two.write_bytes(contents[0])
        one.write_bytes(contents[1])
        return "two files exchanged"

    def _link(self, folder: Path) -> str:
        path = self._choose_file(folder)
        path.unlink()
        path.symlink_to(self._sources.version / path.name)
        return "a link"

    def _replace_by_pipe(self, folder: Path) -> str:
        path = self._choose_file(folder)
        path.unlink()
        os.mkfifo(path)
        return "a pipe"

    def _replace_by_folder(self, folder: Path) -> str:
        path = self._choose_file(folder)
        path.unlink()
        path.mkdir()
        return "a folder"

    def _take_from_other(self, folder: Path) -> str:
        path = self._choose_file(folder)
        shutil.copy(self._sources.other / path.name, path)
        return f"{path.name} of another version"

    def _edit_text(self, folder: Path) -> str:
        path = folder / MANIFEST
        path.write_bytes(self._replace_number(path.read_bytes(), self._choose(TEXTS)))
        return "text of manifest.json"

    # --- With new hashes

    def _set_entry(self, folder: Path) -> str:
        return self._change_entry(folder, lambda holder, key: holder.__setitem__(key, self._choose(WRONG)))

    def _remove_entry(self, folder: Path) -> str:
        return self._change_entry(folder, lambda holder, key: holder.__delitem__(key))

    def _shift_number(self, folder: Path) -> str:
        factor = self._choose([0.0, -1.0, 0.5, 0.999999, 1.001, 2.0, 1e6])

        def shift(holder: Any, key: Any) -> None:
            if isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
                holder[key] = type(holder[key])(holder[key] * factor)

        return self._change_entry(folder, shift)

    def _change_entry(self, folder: Path, change: Callable[[Any, Any], None]) -> str:
        content = json.loads((folder / MANIFEST).read_bytes())
        top = self._choose([key for key in content if key != "manifest_sha256"])
        *path, key = self._choose([each for each in find_entries(content) if each[0] == top])
        holder = content
        for step in path:
            holder = holder[step]
        change(holder, key)
        sign(folder, content)
        return f"entry {top}"

    def _write_text(self, folder: Path) -> str:
        text = self._replace_number((folder / MANIFEST).read_bytes(), self._choose(TEXTS))
        _seal(folder, text)
        return "text of manifest.json"

    def _replace_number(self, data: bytes, text: str) -> bytes:
        numbers = list(re.finditer(rb"(?<=[ \[])-?\d[\d.e+-]*(?=[,\n])", data))
        found = self._choose(numbers)
        return data[: found.start()] + text.encode() + data[found.end() :]

    def _list_file(self, folder: Path) -> str:
        content = json.loads((folder / MANIFEST).read_bytes())
        entry = content["files"][ONNX_FILE]
        name = self._choose(
            ["../1", "..", ".", "", "a/b", "/etc/passwd", "x\0y", "x" * 300, "absent", MANIFEST, SIGNATURE]
        )
        if self._random.random() < 0.3:
            del content["files"][self._choose(sorted(content["files"]))]
        else:
            content["files"][name] = entry
        sign(folder, content)
        return "entry files"

    def _forge_file(self, folder: Path) -> str:
        name = self._choose([*REQUIRED_FILES, ONNX_FILE])
        self._choose([lambda: self._flip_in(folder / name), lambda: (folder / name).write_bytes(b""),
                      lambda: shutil.copy(self._sources.other / name, folder)])()  # fmt: skip
        content = json.loads((folder / MANIFEST).read_bytes())
        data = (folder / name).read_bytes()
        content["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        sign(folder, content)
        return f"file {name}"

    def _forge_version(self, folder: Path) -> str:
        """Put all of another version in the place of this one."""
        signature = folder / SIGNATURE
        kept = signature.read_bytes() if signature.exists() else b""
        version = json.loads((folder / MANIFEST).read_bytes())["version"]
        shutil.rmtree(folder)
        shutil.copytree(self._sources.other, folder, ignore=shutil.ignore_patterns(SIGNATURE))
        content = json.loads((folder / MANIFEST).read_bytes())
        added = ("format", "files", "manifest_sha256")
        write_manifest(
            folder, {key: value for key, value in content.items() if key not in added} | {"version": version}
        )
        if kept:
            signature.write_bytes(kept)
        return "the whole version"


def find_entries(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every entry of plain data."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from find_entries(inner, (*path, key))


def _seal(folder: Path, text: bytes) -> None:
    """Write a manifest with the digest that goes with its text."""
    blank = _DIGEST.sub(rb"\g<1>" + b"0" * 64 + rb"\g<3>", text)
    digest = hashlib.sha256(blank).hexdigest().encode()
    (folder / MANIFEST).write_bytes(_DIGEST.sub(rb"\g<1>" + digest + rb"\g<3>", blank))
