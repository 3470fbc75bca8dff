"""What may follow a query, in each database's own spelling of texts, names and comments."""

from __future__ import annotations

import pytest

from batch.sql.statement import cut_end
from churn.errors import TableError

PG, LITE, MY, MS, OTHER = "postgresql", "sqlite", "mysql", "mssql", "oracle"

ENDS = [
    "", ";", "; ", ";;", "-- note", "; -- note", "; -- note\n", " ; -- it's; a \"note", "/* note */",
    "; /* a; */ -- b\n/* c */;\n", "\r\n;\r\n",
]  # fmt: skip

QUERIES = [
    (OTHER, "SELECT 1"),
    (OTHER, "SELECT ';--' AS a, '/*' AS b, '*/' AS c"),
    (OTHER, "SELECT 'it''s; --' AS a"),
    (OTHER, 'SELECT ";--" FROM "a""b;"'),
    (OTHER, "SELECT 1 -- a; b\nFROM t"),
    (OTHER, "/* a; */ SELECT 1 /* b; */ FROM t"),
    (OTHER, "-- a;\nSELECT a - b FROM t"),
    (OTHER, "SELECT a / b FROM t"),
    (PG, "SELECT $$;--$$"),
    (PG, "SELECT $a$ $$; -- $b$ $a$"),
    (PG, "SELECT a$1$b FROM t"),
    (PG, r"SELECT E'it\'s; --'"),
    (PG, r"SELECT '\'"),
    (PG, "SELECT a[1] FROM t"),
    (PG, "SELECT 1 /* a /* b */ ; */ FROM t"),
    (LITE, "SELECT [a;--] FROM `b;--`"),
    (LITE, r"SELECT '\'"),
    (MY, "SELECT 'it\\'s; --', \"a\\\";--\" FROM `b;--`"),
    (MY, "SELECT 5--1"),
    (MS, "SELECT [a;--] FROM t"),
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(("dialect", "query"), QUERIES)
def test_what_follows_a_query_is_cut_off_and_nothing_else(dialect: str, query: str, end: str) -> None:
    # A comment that goes to the end of the line needs no blank before it, an operator might.
    assert cut_end(f"\n {query} {end}", dialect).rstrip() == query.strip()


def test_mysql_has_one_more_comment() -> None:
    assert cut_end("SELECT '#' ; # note;", MY) == "SELECT '#'"


@pytest.mark.parametrize("text", ["", " ", ";", "-- note", "/* note */;", "/* never closed"])
def test_no_query_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="--sql has no statement"):
        cut_end(text, PG)


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "SELECT 1; -- a\nDELETE FROM t", "SELECT ';'; x"])
def test_a_second_statement_is_refused(text: str) -> None:
    with pytest.raises(TableError, match="--sql has more than one statement; the second starts with"):
        cut_end(text, PG)


@pytest.mark.parametrize("text", ["SELECT 'a ; -- b", 'SELECT "a ; b', "SELECT $$ ; b"])
def test_what_never_closes_is_left_to_the_database(text: str) -> None:
    assert cut_end(text, PG) == text
