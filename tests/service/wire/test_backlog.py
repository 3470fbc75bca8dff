"""Who waits, who is scored next and who is refused, with a clock that tests turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from service.wire.admission import LEAST_WAITING, Admission
from service.wire.backlog import TURN_SECONDS, Backlog

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 0.1
SCORING = TURN_SECONDS / 10
REFUSING = SCORING / 10


class World:
    """A backlog, its clock and its event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.soon: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.happened: list[tuple[str, int]] = []
        self.admission = Admission(LONGEST)
        self.backlog = Backlog(self.admission, lambda: self.now)
        self._count = 0

    def call_soon(self, call: Callable[..., None], *arguments: Any) -> None:
        self.soon.append((call, arguments))

    def is_busy(self) -> bool:
        return self.backlog.is_busy(self)  # type: ignore[arg-type]

    def arrive(self, count: int = 1, *, then: str = "") -> list[Client]:
        """Read requests, as a connection does."""
        clients = []
        for _ in range(count):
            client = Client(self, self._count)
            client.has_ended = then == "ends"
            self._count += 1
            if self.is_busy():
                self.backlog.add(client)
            else:
                client.resume(0.0)
            clients.append(client)
        return clients

    def iterate(self, times: int = 1) -> None:
        """Run what the loop has been given."""
        for _ in range(times):
            calls, self.soon = self.soon, []
            for call, arguments in calls:
                call(*arguments)

    def run_until_idle(self) -> None:
        while self.soon:
            self.iterate()

    def count(self, what: str) -> int:
        return sum(happened == what for happened, _ in self.happened)

    def list(self, what: str) -> list[int]:
        return [number for happened, number in self.happened if happened == what]


class Client:
    """A connection whose requests take time."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self._number = number
        self.waiting_since = 0.0
        self.has_ended = False
        self.waited = -1.0

    def _note(self, what: str, waited: float, seconds: float) -> None:
        self.waited = waited
        self._world.happened.append((what, self._number))
        self._world.now += seconds

    def resume(self, waited: float) -> None:
        self._note("scored", waited, SCORING)

    def refuse_waiting(self, waited: float) -> None:
        self._note("refused", waited, REFUSING)

    def abandon_waiting(self, waited: float) -> None:
        self._note("left", waited, 0.0)


@pytest.fixture
def world() -> World:
    return World()


def test_nobody_waits_for_an_idle_worker(world: World) -> None:
    for _ in range(5):
        [client] = world.arrive()
        assert client.waited == 0
        world.run_until_idle()
        world.now += 1
    assert world.backlog.waiting == 0


def test_what_is_read_after_the_end_of_a_turn_waits_in_the_order_of_arrival(world: World) -> None:
    world.arrive(35)
    assert world.count("scored") == 10
    assert world.backlog.waiting == 25
    world.iterate()
    assert world.count("scored") == 20
    world.arrive(2)  # between two turns, sockets are read
    world.run_until_idle()
    assert world.list("scored") == list(range(37))
    assert world.backlog.waiting == 0


def test_few_requests_are_never_refused_however_long_they_wait(world: World) -> None:
    world.arrive(10 + LEAST_WAITING)
    world.now += 100 * LONGEST  # the process was suspended
    world.run_until_idle()
    assert world.count("scored") == 10 + LEAST_WAITING


def test_what_has_waited_too_long_is_refused_and_the_rest_is_scored(world: World) -> None:
    world.arrive(10)
    old = world.arrive(100)
    world.now += 1.5 * LONGEST
    new = world.arrive(20)
    world.run_until_idle()
    assert sorted(world.list("refused")) == list(range(10, 110))
    assert world.count("scored") == 10 + len(new)
    assert all(client.waited >= LONGEST for client in old)
    assert all(client.waited < LONGEST for client in new)


def test_refusals_do_not_displace_scoring(world: World) -> None:
    """All wait too long, again and again: scoring goes on at nearly full speed."""
    world.arrive(10)
    begin = world.now
    waiting: list[Client] = []
    for _ in range(2000):
        waiting += world.arrive(max(0, 2000 - world.backlog.waiting))
        world.iterate()
    possible = (world.now - begin) / SCORING
    assert world.count("scored") > 0.6 * possible
    assert world.count("refused") > 1000
    scored = set(world.list("scored"))
    assert all(waiting[number - 10].waited <= LONGEST for number in scored if number >= 10)


def test_those_that_came_last_are_refused_before_they_wait_in_vain(world: World) -> None:
    world.arrive(10)
    for _ in range(200):  # learn the speed
        world.arrive(max(0, 100 - world.backlog.waiting))
        world.iterate()
    bound = world.backlog.most_waiting
    assert bound == pytest.approx(LONGEST / SCORING, rel=0.3)
    late = world.arrive(bound - world.backlog.waiting + 50)[-20:]
    world.iterate(3)
    refused = [client for client in late if client.waited >= 0]
    assert refused
    assert all(client.waited < LONGEST / 2 for client in refused)


def test_clients_that_left_are_not_scored_in_an_overload(world: World) -> None:
    world.arrive(10)
    world.arrive(50, then="ends")
    world.arrive(50)
    world.run_until_idle()
    assert world.count("left") == 50
    assert world.count("scored") == 60


def test_a_client_that_sends_no_more_is_scored_as_long_as_few_wait(world: World) -> None:
    world.arrive(10)
    world.arrive(LEAST_WAITING // 2, then="ends")
    world.run_until_idle()
    assert world.count("left") == 0
    assert world.count("scored") == 10 + LEAST_WAITING // 2


def test_a_request_that_is_taken_out_is_skipped(world: World) -> None:
    world.arrive(10)
    clients = world.arrive(100)
    world.now += 0.01
    for client in clients[::2]:
        assert world.backlog.forget(client) == pytest.approx(0.01, abs=1e-6)
    assert world.backlog.waiting == 50
    again = clients[0]
    world.backlog.add(again)  # its next request
    world.run_until_idle()
    assert world.backlog.waiting == 0
    assert world.count("scored") == 10 + 50 + 1
    assert len(set(world.list("scored"))) == 61


def test_an_error_in_a_request_does_not_end_the_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.arrive(10)
    [broken] = world.arrive()
    others = world.arrive(5)

    def fail(waited: float) -> None:
        raise RuntimeError(str(waited))

    monkeypatch.setattr(broken, "resume", fail)
    with pytest.raises(RuntimeError):
        world.iterate()
    world.run_until_idle()
    assert all(client.waited >= 0 for client in others)


def test_a_request_that_was_sent_long_before_it_was_read_is_refused_first(world: World) -> None:
    world.arrive(10)
    others = world.arrive(100)
    late, early = Client(world, 1000), Client(world, 1001)
    world.backlog.add(late, 0.6 * LONGEST)
    world.backlog.add(early, 0.1 * LONGEST)
    world.run_until_idle()
    assert world.list("refused") == [1000]
    assert late.waited >= 0.6 * LONGEST
    assert world.count("scored") == 10 + len(others) + 1
