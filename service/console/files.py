"""The files of the page, read once and compressed."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from service.console.joining import join_modules

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path(__file__).parent / "static"

PAGE = "index.html"
"""The page itself, a template: it names the other files and what this service offers."""

FRAME = "frame.html"
"""A page inside the page, which shows the report of a model and can do nothing else."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Content types by suffix; files with another suffix are not served."""

DIGEST_CHARACTERS = 16

FIRST_MODULE = "main.js"
FIRST_STYLE = "first.css"
FIRST_STYLES = ("vendor/uplot.css", "base.css", "customer.css")
"""Styles of the first view, joined as `FIRST_STYLE`."""

PRELOAD = '<link rel="preload" href="model" as="fetch" crossorigin="anonymous">'
"""Asks for the model while the modules are loaded."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page.

    Attributes
    ----------
    content : bytes
    compressed : bytes
        The same as gzip.
    media_type : str
    tag : str
        The entity tag of `content`, quoted.
    """

    content: bytes
    compressed: bytes
    media_type: str
    tag: str

    @classmethod
    def of(cls, content: bytes, suffix: str) -> File:
        """Compress content; `suffix` decides on its type."""
        return cls(content, gzip.compress(content, mtime=0), TYPES[suffix], f'"{shorten_digest(content)}"')


def shorten_digest(content: bytes) -> str:
    """Return the beginning of the SHA-256."""
    return sha256(content).hexdigest()[:DIGEST_CHARACTERS]


@cache
def read_files() -> Mapping[str, File]:
    """Return all files but the page by their paths below `FOLDER`, with the parts of the first view joined."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES and path.name != PAGE)
    texts = {str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8") for path in paths}
    texts |= join_modules(texts, FIRST_MODULE)
    texts[FIRST_STYLE] = "".join(texts[name] for name in FIRST_STYLES)
    return {name: File.of(text.encode(), Path(name).suffix) for name, text in texts.items()}


@cache
def name_release() -> str:
    """Return a digest of all files, which their addresses contain, so that browsers may keep them for ever."""
    return shorten_digest("".join(f"{name} {file.tag}\n" for name, file in read_files().items()).encode())


def make_page(parts: tuple[str, ...], *, is_protected: bool) -> File:
    """Return the page.

    Parameters
    ----------
    parts : tuple of str
        What this service offers beyond scoring: ``metrics``, ``admin``, ``records``. The page shows nothing of what
        is missing.
    is_protected : bool
        Whether requests need a key, which the page asks for before it sends any.
    """
    template = (FOLDER / PAGE).read_text(encoding="utf-8")
    told = (*parts, "keys") if is_protected else parts
    page = template.replace("{files}", f"console/{name_release()}").replace("{parts}", " ".join(told))
    page = page.replace("{preload}", "" if is_protected else PRELOAD)
    return File.of(page.encode(), ".html")
