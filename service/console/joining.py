"""Joins the modules of the first view into one file, since a browser that is slow spends most of a load on requests.

Views that are loaded later import the same modules. What is part of the joined file is therefore replaced by a module
that passes on what the joined one holds, so that there is one instance of each. There is no build step: this happens
when the service starts.
"""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)
_UNKNOWN = re.compile(r"^(?:import\b(?!\()|export\b(?! (?:async )?(?:function|class|const) \w)).*", re.MULTILINE)
_EXTERNAL = "vendor/"


def join_modules(sources: Mapping[str, str], entry: str) -> dict[str, str]:
    """Join a module with all that it imports, except libraries.

    Parameters
    ----------
    sources : mapping of str to str
        Texts of modules by path.
    entry : str
        The path of the first one.

    Returns
    -------
    dict
        The texts to be served instead, by path.

    Raises
    ------
    ValueError
        If a module has another form of import or export than ``import { a, b } from "./c.js"`` and
        ``export function``, ``class`` or ``const``.
    """
    places: dict[str, int] = {}
    parts: list[str] = []
    libraries: list[str] = []

    def add(path: str) -> None:
        if path in places:
            return
        if path.startswith(_EXTERNAL):
            libraries.append(f'import * as m{len(places)} from "./{path}";')
            places[path] = len(places)
            return
        needed = {match[2]: normpath(join(dirname(path), match[2])) for match in _IMPORT.finditer(sources[path])}
        for other in needed.values():
            add(other)
        body = _IMPORT.sub(lambda match: f"const {{{match[1]}}} = m{places[needed[match[2]]]};\n", sources[path])
        if unknown := _UNKNOWN.search(body):
            raise ValueError(f"{path}: can't be joined: {unknown[0]}")
        places[path] = len(places)
        returned = f"return {{ {', '.join(_EXPORT.findall(body))} }};"
        plain = re.sub("^export ", "", body, flags=re.MULTILINE)
        parts.append(f"const m{places[path]} = (() => {{\n{plain}{returned}\n}})();")

    add(entry)
    held = {path: place for path, place in places.items() if not path.startswith(_EXTERNAL)}
    names = ", ".join(f'"{path}": m{place}' for path, place in held.items())
    joined = "\n".join([*libraries, *parts, f"export const modules = {{ {names} }};", ""])
    return {entry: joined} | {path: _pass_on(path, sources[path], entry) for path in held if path != entry}


def _pass_on(path: str, source: str, entry: str) -> str:
    """Return a module with the exports of one that is part of the joined file."""
    names = ", ".join(_EXPORT.findall(source))
    target = relpath(entry, dirname(path) or ".")
    start = "" if target.startswith(".") else "./"
    return f'import {{ modules }} from "{start}{target}";\nexport const {{ {names} }} = modules["{path}"];\n'
