"""Reads the documentation: its pages, links and commands, and what is wrong with them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click
from bank import REPOSITORY

from cli.main import churn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE))

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = ("", "console", "sh", "bash")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"""(?:\]\(|(?:href|src)=")([^)\s"]+)[)"]""")
_FOLDERS = "docs|deploy|benchmarks|tests|churn|training|service|batch|cli"
_REFERENCE = re.compile(rf"(?<![\w./-])(?:{_FOLDERS})/[\w./-]*\w\.(?:md|json|svg|png|py|yml)\b")


def find_commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every command line in code blocks and in inline code."""
    blocks = [text for language, text in _FENCED.findall(page) if language in _SHELL]
    prose = _FENCED.sub("", page)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [line.strip() for line in prose.splitlines() if line.startswith("    ")]
    for line in lines + _INLINE.findall(prose):
        for part in re.split(r" (?:\||&&|&|;) ?", line.removeprefix("$ ")):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # no command: an apostrophe, a quotation mark
                continue
            if words:
                yield words


def find_fault_in_command(words: list[str]) -> str:
    """Return what is wrong with a command of `churn`, `make` or `benchmarks/`; nothing if all is well."""
    name, *arguments = words
    if name == "make" and arguments:
        return _find_fault_in_make(arguments)
    if name.rpartition("/")[2] == "churn" and arguments:
        return _find_fault_in_churn(churn, arguments)
    if name.rpartition("/")[2] == "python" and arguments and arguments[0].endswith(".py"):
        return _find_fault_in_script(REPOSITORY / arguments[0], arguments[1:])
    return ""


def _find_fault_in_make(arguments: list[str]) -> str:
    for word in arguments:
        variable, assigned, _ = word.partition("=")
        known = variable in VARIABLES if assigned else word in TARGETS
        if not known:
            return f"make has no {word}"
    return ""


def _find_fault_in_churn(command: click.Command, arguments: list[str]) -> str:
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
        if name not in command.commands:
            return f"churn has no command {name}"
        command = command.commands[name]
    known = {"-h", "--help"}
    for parameter in command.params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    unknown = [word for word in arguments if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    return f"{command.name} has no {', '.join(unknown)}" if unknown else ""


def _find_fault_in_script(script: Path, arguments: list[str]) -> str:
    if not script.exists():
        return f"{script} does not exist"
    text = script.read_text(encoding="utf-8")
    unknown = [word for word in arguments if word.startswith("--") and f'"{word}"' not in text]
    return f"{script.name} has no {', '.join(unknown)}" if unknown else ""


def find_dead_links(page: Path, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere: no such file, or no such heading in it."""
    dead = []
    prose = _INLINE.sub("", _FENCED.sub("", text))
    for link in _LINK.findall(prose):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        there = target.exists() and target.is_relative_to(REPOSITORY)
        if not there or (anchor and anchor not in find_anchors(text if target == page else target.read_text("utf-8"))):
            dead.append(link)
    return dead


def find_anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_missing_references(text: str) -> list[str]:
    """Return the files of the repository that a text names by their full path and that do not exist."""
    return sorted({name for name in _REFERENCE.findall(text) if not (REPOSITORY / name).exists()})
