"""What the coordinator tells workers, with workers made up by the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bundles import publish
from tampering import flip_byte
from waiting import wait_until

from churn.registry import Registry
from service.rollout import coordinator as module
from service.rollout.coordinator import Coordinator
from service.rollout.messages import (
    Abort,
    Admit,
    Change,
    Commit,
    Committed,
    Loaded,
    Prepare,
    Prepared,
    Wish,
    decode_for_worker,
    encode,
)
from service.rollout.staging import open_staging
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Member:
    """A worker that does what the test says."""

    def __init__(self) -> None:
        self.is_alive = True
        self.received: list[Any] = []
        self._sent: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.received.append(decode_for_worker(message))

    def take_messages(self) -> list[bytes]:
        sent, self._sent = self._sent, []
        return sent

    def tell(self, message: Any) -> None:
        self._sent.append(encode(message))

    def last(self, kind: type) -> Any:
        found = [message for message in self.received if isinstance(message, kind)]
        return found[-1] if found else None


class Service:
    """A coordinator with two workers that have been admitted."""

    def __init__(self, coordinator: Any) -> None:
        self.coordinator = coordinator
        self.lineup = coordinator.open()
        self.members: list[Member] = []
        for _ in range(2):
            self.add()

    def add(self) -> Member:
        member = Member()
        self.members.append(member)
        member.tell(Loaded(self.lineup))
        self.tick()
        assert member.last(Admit)
        return member

    def tick(self) -> None:
        self.coordinator.tick([member for member in self.members if member.is_alive])

    def wait_for(self, kind: type, member: Member) -> Any:
        member.received.clear()

        def has_come() -> bool:
            self.tick()
            return member.last(kind) is not None

        wait_until(has_come)
        return member.last(kind)

    def answer(self, number: int, *faults: str) -> None:
        for member, fault in zip(self.members, faults, strict=True):
            member.tell(Prepared(number, fault))
        self.tick()

    def commit(self, number: int) -> None:
        for member in self.members:
            member.tell(Committed(number))
        self.tick()


@pytest.fixture
def service(models: Path) -> Iterator[Service]:
    with open_staging(models) as staging:
        coordinator = Coordinator(Settings(models=models), staging, 60)
        yield Service(coordinator)
        coordinator.close()


def test_all_switch_once_all_are_ready(service: Service, models: Path) -> None:
    first, second = service.members
    publish(models)
    number = service.wait_for(Prepare, first).number
    first.tell(Prepared(number))
    for _ in range(3):
        service.tick()
    assert not first.last(Commit)
    assert service.coordinator.lineup == service.lineup
    second.tell(Prepared(number))
    service.tick()
    assert first.last(Commit) == second.last(Commit) == Commit(number)
    assert service.coordinator.lineup.champion.version == 2
    assert not service.coordinator.is_idle
    service.commit(number)
    change = service.coordinator.last_change
    assert (change.outcome, change.action, change.version, change.reason) == ("switched", "current", "2", None)
    assert [member.last(Change).is_counted for member in (first, second)] == [True, False]
    assert service.coordinator.is_idle


def test_none_switches_if_one_has_a_fault(service: Service, models: Path) -> None:
    publish(models)
    number = service.wait_for(Prepare, service.members[0]).number
    copy = service.members[0].last(Prepare).lineup.champion.folder
    service.answer(number, "", f"{copy}: golden row 0 scores 0.5")
    for member in service.members:
        assert member.last(Abort) == Abort(number)
        assert not member.last(Commit)
    assert service.coordinator.lineup == service.lineup
    change = service.coordinator.last_change
    assert (change.outcome, change.reason) == ("failed", f"{models}/2: golden row 0 scores 0.5")
    service.answer(number, "", "")  # too late
    assert not service.members[0].last(Commit)


def test_none_switches_if_one_is_not_ready_in_time(models: Path) -> None:
    with open_staging(models) as staging:
        service = Service(Coordinator(Settings(models=models), staging, 0))
        publish(models)
        service.wait_for(Change, service.members[0])
        change = service.coordinator.last_change
        assert change.outcome == "failed"
        assert "was not loaded by every worker within 0 s" in change.reason


def test_a_worker_that_dies_holds_nothing_up_and_its_successor_loads_what_the_others_serve(
    service: Service, models: Path
) -> None:
    first, second = service.members
    publish(models)
    number = service.wait_for(Prepare, first).number
    first.tell(Prepared(number))
    second.is_alive = False
    service.tick()
    assert first.last(Commit)
    first.tell(Committed(number))
    service.tick()
    assert service.coordinator.is_idle
    late = Member()
    service.members.append(late)
    late.tell(Loaded(service.lineup))  # it was started before the switch
    service.tick()
    assert late.last(Admit).lineup == service.coordinator.lineup != service.lineup
    assert late.last(Admit).last_change.version == "2"
    late.tell(Loaded(service.coordinator.lineup))
    service.tick()
    publish(models)
    assert service.wait_for(Prepare, late).lineup.champion.version == 3


def test_a_worker_that_starts_meanwhile_takes_part(service: Service, models: Path) -> None:
    publish(models)
    number = service.wait_for(Prepare, service.members[0]).number
    late = service.add()
    service.tick()
    assert late.last(Prepare).number == number
    service.answer(number, "", "", "")
    assert late.last(Commit)


def test_a_worker_that_does_not_confirm_does_not_hold_the_next_change_up(
    service: Service, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMIT_SECONDS", 0)
    publish(models)
    number = service.wait_for(Prepare, service.members[0]).number
    service.answer(number, "", "")
    wait_until(lambda: service.tick() or service.coordinator.is_idle)
    assert service.coordinator.last_change.outcome == "switched"


def test_a_damaged_version_is_not_even_sent(service: Service, models: Path) -> None:
    flip_byte(publish(models) / "model.onnx", 40)
    change = service.wait_for(Change, service.members[0])
    assert change.outcome == "failed"
    assert "models/2/model.onnx: SHA-256 differs" in change.reason
    assert not service.members[0].last(Prepare)
    assert service.coordinator.fault == change.reason
    Registry(models).promote(2)  # again: another attempt
    assert "SHA-256" in service.wait_for(Change, service.members[0]).reason


def test_other_bytes_under_the_number_that_is_served_are_refused(service: Service, models: Path) -> None:
    (models / "1").rename(models / "old")
    other = publish(models / "others", threshold=0.25)
    other.rename(models / "1")
    service.coordinator.look_again()
    change = service.wait_for(Change, service.members[0])
    assert "models/1: the files differ from version 1 as it is being served" in change.reason


def test_a_promotion_is_recorded_only_when_all_are_ready(service: Service, models: Path) -> None:
    first, second = service.members
    publish(models)
    service.answer(service.wait_for(Prepare, first).number, "", "")
    service.commit(first.last(Commit).number)
    registry = Registry(models)
    registry.promote(1)
    service.answer(service.wait_for(Prepare, first).number, "", "")
    service.commit(first.last(Commit).number)
    second.tell(Wish("promote", 2, number=7))
    number = service.wait_for(Prepare, first).number
    service.answer(number, "no room", "")
    assert registry.current() == 1
    assert (second.last(Change).number, second.last(Change).outcome) == (7, "failed")
    assert first.last(Change).number == 0
    second.tell(Wish("promote", 2, number=8))
    number = service.wait_for(Prepare, first).number
    service.answer(number, "", "")
    wait_until(lambda: service.tick() or first.last(Commit))
    assert registry.current() == 2
    service.commit(number)
    assert (second.last(Change).number, second.last(Change).outcome) == (8, "switched")
    first.tell(Wish("rollback", number=1))
    number = service.wait_for(Prepare, first).number
    service.answer(number, "", "")
    wait_until(lambda: service.tick() or first.last(Commit))
    assert registry.current() == 1
    service.commit(number)
    assert first.last(Change).version == "1"


def test_a_fixed_version_is_not_changed(models: Path) -> None:
    with open_staging(models) as staging:
        service = Service(Coordinator(Settings(models=models, model_version=1), staging, 60))
        publish(models)
        service.coordinator.look_again()
        service.members[0].tell(Wish("promote", 2, number=1))
        assert "CHURN_MODEL_VERSION is 1" in service.wait_for(Change, service.members[0]).reason
        assert service.coordinator.is_idle
