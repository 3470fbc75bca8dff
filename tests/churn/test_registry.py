from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tampering import contents
from waiting import DEADLINE

from churn.errors import RegistryError
from churn.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path


def publish(registry: Registry, text: str = "a model", *, promote: bool = True) -> int:
    def write(folder: Path, version: int) -> None:
        (folder / "model").write_text(f"{text} {version}")

    return registry.publish(write, promote=promote)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


def test_versions_count_up_from_one_and_the_new_one_is_current(registry: Registry) -> None:
    assert [publish(registry), publish(registry)] == [1, 2]
    assert registry.versions() == [1, 2]
    assert registry.current() == 2
    assert registry.current_folder() == registry.root / "2"
    assert (registry.root / "current").read_text() == "2\n"
    assert (registry.root / "2" / "model").read_text() == "a model 2"


def test_a_version_can_be_published_without_being_served(registry: Registry) -> None:
    publish(registry)
    publish(registry, promote=False)
    assert registry.versions() == [1, 2]
    assert registry.current() == 1


def test_versions_are_ordered_as_numbers_and_other_names_are_none(registry: Registry) -> None:
    for name in ("10", "9", "007", "-1", "x", "²", ".staging-11"):
        (registry.root / name).mkdir(parents=True)
    (registry.root / "12").touch()
    assert registry.versions() == [9, 10]


def test_whether_a_version_can_be_published_is_known_before_and_leaves_no_trace(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.require_writable()
    assert not list(tmp_path.iterdir())
    publish(registry)
    before = contents(registry.root)
    registry.require_writable()
    assert contents(registry.root) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match=r"file/models: no version can be published there: .*--models"):
        Registry(tmp_path / "file" / "models").require_writable()
    # As it is for another user; for root every folder can be written.
    monkeypatch.setattr("os.access", lambda path, _: path != registry.root)
    with pytest.raises(RegistryError, match=rf"user \d+ can't write to {registry.root};"):
        registry.require_writable()


def test_a_publication_that_fails_leaves_everything_as_before(registry: Registry) -> None:
    publish(registry)
    before = contents(registry.root)

    def write(folder: Path, version: int) -> None:
        (folder / "model").write_text("half")
        raise ValueError(version)

    with pytest.raises(ValueError, match="2"):
        registry.publish(write)
    assert contents(registry.root) == before
    assert sorted(path.name for path in registry.root.iterdir()) == ["1", "current", "last_version", "promotions.jsonl"]


@pytest.mark.parametrize("promote", [True, False])
def test_a_number_is_never_given_twice(registry: Registry, *, promote: bool) -> None:
    publish(registry)
    assert publish(registry, promote=promote) == 2
    shutil.rmtree(registry.root / "2")
    assert publish(registry, promote=promote) == 3


def test_a_number_is_never_given_twice_where_only_the_promotions_are_left(registry: Registry) -> None:
    publish(registry)
    publish(registry)
    shutil.rmtree(registry.root / "2")
    (registry.root / "last_version").unlink()
    assert publish(registry) == 3


def test_a_corrupt_last_version_is_refused_by_name(registry: Registry) -> None:
    publish(registry)
    (registry.root / "last_version").write_text("two")
    with pytest.raises(RegistryError, match=r"models/last_version: expected a version number, found 'two'"):
        publish(registry)
    assert registry.versions() == [1]


@pytest.mark.parametrize("torn", [b'{"time": "2026-11-30T09:55:50+00:00", "act', b"\xff", bytes(40), b"7"])
def test_a_torn_last_line_is_ignored_and_removed_by_the_next_change(registry: Registry, torn: bytes) -> None:
    publish(registry)
    publish(registry)
    file = registry.root / "promotions.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    assert [change["version"] for change in registry.history()] == [1, 2]
    assert file.read_bytes() == whole + torn
    assert registry.rollback() == 1
    assert file.read_bytes().startswith(whole)
    assert [change["version"] for change in registry.history()] == [1, 2, 1]
    assert len(file.read_bytes().splitlines()) == 3


def test_a_folder_that_can_not_be_written_is_named(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(registry)
    publish(registry)

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("churn.registry.replace_text", fail)
    with pytest.raises(RegistryError, match=r"models: version 1 can't be made current: .*Read-only file system"):
        registry.promote(1)


def test_nobody_sees_a_version_that_is_being_written(registry: Registry) -> None:
    publish(registry)
    seen: list[list[int]] = []
    registry.publish(lambda *_: seen.append(registry.versions()))
    assert seen == [[1]]


def test_what_killed_processes_left_is_removed(registry: Registry) -> None:
    publish(registry)
    for name in (".staging-2", ".staging-7"):
        (registry.root / name).mkdir()
        (registry.root / name / "model.keras").write_text("half")
    for name in (".current.0123abcd", ".promotions.jsonl.0123abcd", ".last_version.0123abcd"):
        (registry.root / name).write_text("half")
    (registry.root / ".gitignore").touch()
    registry.promote(1)
    assert {path.name for path in registry.root.iterdir()} == {
        ".gitignore", "1", "current", "last_version", "promotions.jsonl",
    }  # fmt: skip
    assert publish(registry) == 2


def test_a_rollback_returns_to_what_was_served_before(registry: Registry) -> None:
    for _ in range(3):
        publish(registry)
    assert [registry.rollback(), registry.rollback()] == [2, 1]
    assert registry.current() == 1
    with pytest.raises(RegistryError, match="no version was current before"):
        registry.rollback()


def test_a_promotion_after_a_rollback_goes_on_top(registry: Registry) -> None:
    for _ in range(3):
        publish(registry)  # served: 1 2 3
    registry.rollback()  # 1 2
    registry.promote(1)  # 1 2 1
    registry.promote(3)  # 1 2 1 3
    assert [registry.rollback(), registry.rollback(), registry.rollback()] == [1, 2, 1]


def test_promoting_the_current_version_again_changes_nothing_to_return_to(registry: Registry) -> None:
    publish(registry)
    publish(registry)
    registry.promote(2)
    assert registry.rollback() == 1


def test_every_change_is_kept_with_its_time(registry: Registry) -> None:
    publish(registry)
    publish(registry)
    registry.rollback()
    assert [(change["action"], change["version"]) for change in registry.history()] == [
        ("promote", 1),
        ("promote", 2),
        ("rollback", 1),
    ]
    assert all(change["time"].endswith("+00:00") for change in registry.history())


def test_an_unknown_version_is_refused_and_the_known_ones_are_named(registry: Registry) -> None:
    publish(registry)
    publish(registry)
    with pytest.raises(RegistryError, match="version 3 does not exist; available: 1, 2"):
        registry.folder(3)
    with pytest.raises(RegistryError, match="version 3 does not exist; available: 1, 2"):
        registry.promote(3)
    assert registry.current() == 2


def test_a_rollback_to_a_version_that_is_gone_is_refused(registry: Registry) -> None:
    publish(registry)
    publish(registry)
    (registry.root / "1" / "model").unlink()
    (registry.root / "1").rmdir()
    with pytest.raises(RegistryError, match="version 1 does not exist"):
        registry.rollback()
    assert registry.current() == 2


@pytest.mark.parametrize("content", [b"", b"two\n", b"1\n2\n", b"-1", b"\xff\xfe", "²".encode()])
def test_a_corrupt_current_is_refused_by_name(registry: Registry, content: bytes) -> None:
    publish(registry)
    (registry.root / "current").write_bytes(content)
    with pytest.raises(RegistryError, match="models/current: "):
        registry.current()


def test_a_current_that_names_no_version_is_refused(registry: Registry) -> None:
    publish(registry)
    (registry.root / "current").write_text("5\n")
    with pytest.raises(RegistryError, match="version 5 does not exist; available: 1"):
        registry.current_folder()


def test_without_a_current_version_the_message_says_what_to_do(registry: Registry) -> None:
    publish(registry, promote=False)
    with pytest.raises(RegistryError, match=r"no version is current .* train one, or promote one of: 1"):
        registry.current()


def test_a_folder_that_is_not_there_holds_nothing(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.history() == []
    with pytest.raises(RegistryError, match="the folder does not exist"):
        registry.promote(1)
    with pytest.raises(RegistryError, match="promote one of: none"):
        registry.current()
    assert not registry.root.exists()


@pytest.mark.parametrize("text", ["", "-1", "1\n2", "1" * 19, "1" * 5000, "\0"])
def test_a_current_version_that_is_no_number_is_refused(registry: Registry, text: str) -> None:
    publish(registry)
    (registry.root / "current").write_text(text)
    with pytest.raises(RegistryError, match=r"models/current: expected a version number"):
        registry.current()


def test_a_pipe_that_takes_the_place_of_the_current_version_is_not_waited_for(registry: Registry) -> None:
    publish(registry)
    (registry.root / "current").unlink()
    os.mkfifo(registry.root / "current")
    with pytest.raises(RegistryError, match=r"models/current: can't be read: .* is not a regular file"):
        registry.current()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "{}",
        '{"action": "promote", "version": "x"}',
        "[]",
        "5",
        '{"action": "promote", "version": 1e999}',
        "[" * 9999,
    ],
)
def test_a_corrupt_history_is_refused_by_line(registry: Registry, line: str) -> None:
    publish(registry)
    with (registry.root / "promotions.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RegistryError, match=r"promotions.jsonl: line 2 is invalid"):
        registry.rollback()


def test_a_history_that_begins_with_a_rollback_has_nothing_to_return_to(registry: Registry) -> None:
    publish(registry)
    line = json.dumps({"time": "", "action": "rollback", "version": 1})
    (registry.root / "promotions.jsonl").write_text(f"{line}\n")
    with pytest.raises(RegistryError, match="no version was current before"):
        registry.rollback()


def _publish_many(root: Path, start: object, count: int) -> None:
    start.wait()  # type: ignore[attr-defined]
    for _ in range(count):
        publish(Registry(root))


def test_two_processes_that_publish_at_once_get_versions_of_their_own(registry: Registry) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    processes = [context.Process(target=_publish_many, args=(registry.root, start, 10)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE)
    assert [process.exitcode for process in processes] == [0, 0]
    assert registry.versions() == list(range(1, 21))
    assert [change["version"] for change in registry.history()] == list(range(1, 21))
    assert registry.current() == 20
