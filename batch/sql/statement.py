"""Remove semicolons and comments from the end of a user's statement, so that it can be used as a subquery."""

from __future__ import annotations

import re

from churn.errors import TableError

_MARKS = r"(?P<block>/\*) | (?P<end>;) | (?P<blank>\s+)"
_LINE = r"(?P<line>--[^\n]*)"
_POSTGRESQL_LINE = r"(?P<line>--[^\n\r]*)"
_MYSQL_LINE = r"(?P<line>(?:--(?=\s|\Z)|\#)[^\n]*)"
"""Line comments; in MySQL, two dashes without a following space are an operator and a sign."""

# An unclosed quote extends to the end, as in the database.
_TEXT = r"'(?:[^']|'')*(?:'|\Z)"
_NAME = r'"(?:[^"]|"")*(?:"|\Z)'
_ESCAPED_TEXT = r"(?<!\w)[eE]'(?:[^'\\]|''|\\.)*(?:'|\Z)"
_DOLLARS = r"(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$(?:.*?)(?:\$(?P=tag)\$|\Z)"
_BACKSLASHED = r"""'(?:[^'\\]|''|\\.)*(?:'|\Z) | "(?:[^"\\]|""|\\.)*(?:"|\Z)"""
_BACKTICKS = r"`(?:[^`]|``)*(?:`|\Z)"
_BRACKETS = r"\[[^\]]*(?:\]|\Z)"

_QUOTING = {
    "postgresql": (_POSTGRESQL_LINE, _ESCAPED_TEXT, _TEXT, _NAME, _DOLLARS),
    "sqlite": (_LINE, _TEXT, _NAME, _BACKTICKS, _BRACKETS),
    "mysql": (_MYSQL_LINE, _BACKSLASHED, _BACKTICKS),
    "mariadb": (_MYSQL_LINE, _BACKSLASHED, _BACKTICKS),
    "mssql": (_LINE, _TEXT, _NAME, _BRACKETS),
}
_OTHER = (_LINE, _TEXT, _NAME)
_COMMENT_MARKS = re.compile(r"/\*|\*/")

_NESTING = ("postgresql", "mssql")
"""Databases with nested block comments."""


def cut_end(text: str, dialect: str) -> str:
    """Return a statement without trailing semicolons, comments and white space.

    Semicolons and dashes in strings, quoted names, dollar quotes and comments are kept, according to the syntax of the
    database.

    Parameters
    ----------
    text : str
    dialect : str
        SQLAlchemy's name of the dialect, e.g. ``"postgresql"``.

    Raises
    ------
    TableError
        If there is no statement, or more than one.
    """
    pattern = re.compile(" | ".join((_MARKS, *_QUOTING.get(dialect, _OTHER), ".")), re.VERBOSE | re.DOTALL)
    position = end = 0
    is_ended = False
    while position < len(text):
        token = pattern.match(text, position)
        assert token is not None  # noqa: S101  the last choice takes any character
        kind, position = token.lastgroup, token.end()
        if kind == "block":
            position = _find_comment_end(text, position, nests=dialect in _NESTING)
        elif kind == "end":
            is_ended = is_ended or end > 0
        elif kind not in ("line", "blank"):
            if is_ended:
                begins = text[token.start() :][:40]
                raise TableError(
                    f"--sql has more than one statement; the second starts with {begins!r}; allowed: one query"
                )
            end = position
    if not end:
        raise TableError("--sql has no statement; allowed: one query")
    return text[:end].strip()


def _find_comment_end(text: str, position: int, *, nests: bool) -> int:
    depth = 1
    while depth:
        mark = _COMMENT_MARKS.search(text, position)
        if mark is None:
            return len(text)
        position = mark.end()
        depth += -1 if mark[0] == "*/" else int(nests)
    return position
