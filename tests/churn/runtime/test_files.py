from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from churn.runtime.files import find_left_aside, replace_text, sha256, write_aside

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    with write_aside(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert find_left_aside(path) == [aside]
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def fail() -> None:
        with write_aside(path) as aside:
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "current"
    replace_text(path, "1\n")
    replace_text(path, "2\n")
    assert path.read_text() == "2\n"
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_writers_own_leavings_are_found(tmp_path: Path) -> None:
    left = tmp_path / ".current.0123abcd"
    for name in (left.name, ".current.swp", ".current.0123abcd.old", "current", ".other.0123abcd"):
        (tmp_path / name).touch()
    assert find_left_aside(tmp_path / "current") == [left]


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
