"""Finds the code that a function reaches, so that a kept result can be named by exactly what made it.

Read from the source, nothing is run: from a function's definition over every name in it to the definitions that those
stand for, through imports, until nothing new turns up. What another function of the same module imports is not
followed. Too much may be found (a local variable of a definition's name), never too little, as long as code is
called by its name or on an object whose class was made by name. Annotations, docstrings, comments and layout do
not count: they change no result.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT, ROOT / "benchmarks")
"""Where our modules lie; code outside them is a library's."""

Place = tuple[str, str]
"""A module's dotted name, and a name in it, or one of the two below."""

LOOSE = ""
"""What a module runs when it is imported that defines nothing."""

WHOLE = "*"
"""All of a module."""


def digest(roots: Iterable[Place]) -> str:
    """Return 12 hex digits of the code that `roots` reach.

    Raises
    ------
    KeyError
        If a root is not there.
    """
    found = reach(roots)
    text = "\n".join(f"{module}:{name}\n{found[module, name]}" for module, name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def reach(roots: Iterable[Place]) -> dict[Place, str]:
    """Return every definition that `roots` reach, and its bare source.

    Raises
    ------
    KeyError
        If a root is not there.
    """
    waiting, found = list(roots), dict[Place, str]()
    for module, name in waiting:
        if not Module.load(module).knows(name):
            raise KeyError(f"no {name} in {module}")
    while waiting:
        place = waiting.pop()
        if place not in found:
            module = Module.load(place[0])
            found[place] = "\n".join(map(ast.unparse, module.definitions.get(place[1], [])))
            waiting += module.follow(place[1])
            waiting += [(package, LOOSE) for package in packages(place[0])]
    return found


def find(module: str) -> Path | None:
    """Return the file of a module of ours."""
    for folder in FOLDERS:
        path = folder.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def packages(module: str) -> Iterator[str]:
    """Yield the module and the packages around it, all of which are run when it is imported."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


class Module:
    """What a module defines and imports at its top, and lazily inside its functions.

    Parameters
    ----------
    name : str
        Dotted.
    tree : ast.Module
    """

    def __init__(self, name: str, tree: ast.Module) -> None:
        self._name = name
        self._imports: dict[str, Place] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        for node in ast.walk(tree):
            self._note_import(node)
        for statement in Bare().visit(tree).body:
            for bound in bind(statement):
                self.definitions.setdefault(bound, []).append(statement)

    @classmethod
    @functools.cache
    def load(cls, name: str) -> Module:
        """Read a module of ours.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        path = find(name)
        if path is None:
            raise KeyError(f"no module {name}")
        return cls(name, ast.parse(path.read_text(encoding="utf-8")))

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if find(whole):
                    self._imports[alias.asname or alias.name] = (whole, WHOLE)
                elif find(node.module):
                    self._imports[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if find(alias.name):
                    self._imports[alias.asname or alias.name] = (alias.name, WHOLE)

    def knows(self, name: str) -> bool:
        """Say whether a name is defined or imported here."""
        return name in self.definitions or name in self._imports or name in (LOOSE, WHOLE)

    def follow(self, name: str) -> Iterator[Place]:
        """Yield the places that a name's definition speaks of."""
        if name == WHOLE:
            yield from ((self._name, inside) for inside in self.definitions)
        elif name not in self.definitions and name in self._imports:
            yield self._imports[name]
        for statement in self.definitions.get(name, []):
            yield from self._read(statement)

    def _read(self, statement: ast.stmt) -> Iterator[Place]:
        taken: set[ast.AST] = set()  # names of modules of which one thing is used; an attribute comes before its name
        for node in ast.walk(statement):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module, inside = self._imports.get(node.value.id, ("", ""))
                if inside == WHOLE and Module.load(module).knows(node.attr):
                    taken.add(node.value)
                    yield module, node.attr
            elif isinstance(node, ast.Name) and node not in taken:
                if node.id in self._imports:
                    yield self._imports[node.id]
                elif node.id in self.definitions:
                    yield self._name, node.id


class Bare(ast.NodeTransformer):
    """Takes out of a module what changes no result: docstrings, annotations, and what is there for types alone."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Drop docstrings, a module's, a function's or a constant's."""
        return None if isinstance(node.value, ast.Constant) else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Drop imports for types."""
        for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if for_types else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep the field of a dataclass, not its type."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Drop an argument's type."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the type of what is returned."""
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Leave no class without a body."""
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def bind(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top of a module defines; `LOOSE` if it may do something else."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif not isinstance(statement, ast.Import | ast.ImportFrom):
        names = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        yield from sorted(names)
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            yield LOOSE
