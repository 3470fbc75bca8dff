"""Compute a digest of all code that a function depends on, to identify stored results.

The source is analysed without running it: from the definition of a function, all names are followed to their
definitions, through imports, until nothing new is found. Imports in other functions of a module are not followed. The
result may contain too much (a local variable with the name of a definition) but never too little, if code is called
by name or on an object whose class is used by name. Annotations, docstrings, comments and formatting are ignored,
because they don't affect results.
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
"""Folders of the project's modules; other code belongs to libraries."""

Place = tuple[str, str]
"""Dotted name of a module, and a name in it or one of the two constants below."""

LOOSE = ""
"""Statements of a module that define no names."""

WHOLE = "*"
"""The whole module."""


def digest(roots: Iterable[Place]) -> str:
    """Return a digest of the code that `roots` depend on, 12 hexadecimal digits.

    Raises
    ------
    KeyError
        If a root does not exist.
    """
    found = collect_code(roots)
    text = "\n".join(f"{module}:{name}\n{found[module, name]}" for module, name in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def collect_code(roots: Iterable[Place]) -> dict[Place, str]:
    """Return every definition that `roots` depend on, with its normalised source.

    Raises
    ------
    KeyError
        If a root does not exist.
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
    """Return the file of a module of the project, or None."""
    for folder in FOLDERS:
        path = folder.joinpath(*module.split("."))
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


def packages(module: str) -> Iterator[str]:
    """Yield a module and its parent packages, all of which are executed on import."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


class Module:
    """Definitions and imports of a module, at its top level and inside functions.

    Parameters
    ----------
    name : str
        Dotted name.
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
        """Parse a module of the project.

        Raises
        ------
        KeyError
            If it does not exist.
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
        """Return whether a name is defined or imported in the module."""
        return name in self.definitions or name in self._imports or name in (LOOSE, WHOLE)

    def follow(self, name: str) -> Iterator[Place]:
        """Yield the definitions that the definition of a name refers to."""
        if name == WHOLE:
            yield from ((self._name, inside) for inside in self.definitions)
        elif name not in self.definitions and name in self._imports:
            yield self._imports[name]
        for statement in self.definitions.get(name, []):
            yield from self._read(statement)

    def _read(self, statement: ast.stmt) -> Iterator[Place]:
        taken: set[ast.AST] = (
            set()
        )  # names of modules with one attribute used; the attribute is visited before the name
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
    """Removes code that does not affect results: docstrings, annotations, and imports for type checking."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        """Remove docstrings."""
        return None if isinstance(node.value, ast.Constant) else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Remove imports for type checking."""
        for_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if for_types else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep the field of a dataclass without its type."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        """Remove the type of an argument."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the return type."""
        node.returns = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Keep a body in every class."""
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def bind(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement defines; `LOOSE` if it may have other effects."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name
    elif not isinstance(statement, ast.Import | ast.ImportFrom):
        names = {
            node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        yield from sorted(names)
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            yield LOOSE
