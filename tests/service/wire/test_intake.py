"""Connections: as many as there may be, probes on a few more, and none that ends the service."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from bundles import CUSTOMER
from service_process import running_service
from socket_service import Running, read, read_answers, request, serving
from waiting import DEADLINE, wait_until

from service.wire import descriptors, intake
from service.wire import waiting as waiting_module
from service.wire.descriptors import find_most_connections
from service.wire.intake import Intake
from service.wire.peeking import peek
from service.wire.spread import CLOSED, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BODY = json.dumps(CUSTOMER).encode()
PROBE = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
TOO_MANY = 'churn_rejected_requests_total{reason="too-many-connections"}'


@pytest.fixture
def full(bank_models: Path) -> Iterator[tuple[Running, list[socket.socket]]]:
    """Yield a service with as many connections as it may have."""
    with serving(bank_models, max_connections=3) as service:
        opened = []
        for number in range(3):
            opened.append(service.connect())
            wait_until(lambda count=number: len(service.server.server_state.connections) == count + 1)  # type: ignore[misc]
        yield service, opened
        for one in opened:
            one.close()


def test_a_probe_is_answered_on_a_connection_that_is_one_too_many(full: tuple[Running, list[socket.socket]]) -> None:
    service, _ = full
    for sent in (PROBE, SCRAPE):
        with service.connect() as connection:
            connection.sendall(sent)
            [(status, headers, _)] = read_answers(connection, 2)
            assert (status, headers["connection"]) == (200, "close")


@pytest.mark.parametrize(
    "line", ["POST /predict HTTP/1.1", "POST /predict?extra=ignore HTTP/1.1", "GET /model HTTP/1.1"]
)
def test_all_else_is_refused(full: tuple[Running, list[socket.socket]], line: str) -> None:
    service, opened = full
    with service.connect() as connection:
        connection.sendall(request(BODY, line=line))
        [(status, headers, body)] = read_answers(connection, 2)
    assert (status, headers["connection"], headers["retry-after"]) == (503, "close", "1")
    assert json.loads(body)["type"] == "urn:churn:too-many-connections"
    assert read(service, TOO_MANY) == 1
    opened[0].sendall(request(BODY))
    assert read_answers(opened[0], 1)[0][0] == 200


def test_a_probe_and_a_request_behind_it(full: tuple[Running, list[socket.socket]]) -> None:
    service, _ = full
    with service.connect() as connection:
        connection.sendall(PROBE + request(BODY))
        assert [status for status, _, _ in read_answers(connection, 3)] == [200]


def test_who_is_silent_on_it_is_told_why_it_is_closed(
    full: tuple[Running, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "GUEST_SECONDS", 0.1)
    service, _ = full
    with service.connect() as connection:
        [(status, _, _)] = read_answers(connection, 2)
    assert status == 503


def end_guest(connection: Any) -> None:
    connection.loop.call_later(0.001, connection._end_guest)


def end_idle(connection: Any) -> None:
    connection._watchdog.active = time.monotonic() - connection.timeout_keep_alive + 0.001
    connection._watchdog.watch_idle()


@pytest.mark.parametrize(
    ("most", "end", "is_closed"), [(1, end_guest, True), (9, end_idle, False)], ids=["one too many", "idle"]
)
def test_what_arrives_while_the_process_pauses_is_answered(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch, most: int, end: Callable[[Any], None], *, is_closed: bool
) -> None:
    new_loop = staticmethod(uvloop.new_event_loop)  # calls timers before it reads
    monkeypatch.setattr(Running, "loop_factory", new_loop)
    near, far = socket.socketpair()
    paused, sent = threading.Event(), threading.Event()

    def pause() -> None:
        near.recv(1)
        paused.set()
        assert sent.wait(DEADLINE)
        connections: list[Any] = [*service.server.server_state.connections]
        (one,) = (one for one in connections if one.client == client.getsockname())
        end(one)
        time.sleep(0.05)  # so that its time is over when timers are called, which is before sockets are read

    with near, far, serving(bank_models, max_connections=most) as service, service.connect():
        wait_until(lambda: len(service.server.server_state.connections) == 1)
        service.loop.call_soon_threadsafe(service.loop.add_reader, near.fileno(), pause)
        with service.connect() as client:
            wait_until(lambda: len(service.server.server_state.connections) == 2)
            far.send(b".")
            assert paused.wait(DEADLINE)
            client.sendall(SCRAPE)
            sent.set()
            [(status, headers, _)] = read_answers(client, 1)
            assert (status, headers.get("connection") == "close") == (200, is_closed)
        service.loop.call_soon_threadsafe(service.loop.remove_reader, near.fileno())


def test_further_connections_are_refused_at_once(
    full: tuple[Running, list[socket.socket]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "SPARE_CONNECTIONS", 0)
    service, opened = full
    for count in range(1, 4):
        with service.connect() as connection:
            [(status, headers, _)] = read_answers(connection, 2)
        assert (status, headers["retry-after"]) == (503, "1")
        assert read(service, TOO_MANY) == count
    opened.pop().close()
    wait_until(lambda: len(service.server.server_state.connections) == 2)
    assert service.send(request(BODY))[0][0] == 200


def test_idle_connections_up_to_the_limit_of_files_do_not_end_the_service(bank_models: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # inherited by the service
    try:
        with running_service(bank_models, tmp_path) as service:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            idle = [socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) for _ in range(300)]
            wait_until(service.is_ready)
            assert service.metrics()[TOO_MANY] > 0
            for one in idle:
                one.close()
            wait_until(lambda: service.request("POST", "/predict", BODY.decode())[0] == 200)
            assert service.end() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_bound_leaves_files_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for files, most in ((1024, 848), (65_536, 65_360), (256, 144), (resource.RLIM_INFINITY, 2**20 - 176), (10, 1)):
        monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _, files=files: (files, files))
        assert find_most_connections(None) == most
        assert find_most_connections(10**9) == most
        assert find_most_connections(1) == 1


class Policy:
    """Refuses, and remembers what it was told."""

    longest_wait = 0.05

    def __init__(self, *, is_overload: bool = False) -> None:
        self.is_overload = is_overload
        self.left = self.late = 0

    def refuse_connection(self) -> bytes:
        return b"no"

    def refuse_late(self, seconds: float) -> bytes:
        assert seconds > self.longest_wait
        self.late += 1
        return b"too late"

    def count_left(self, seconds: float) -> None:
        assert seconds >= 0
        self.left += 1


def test_accepting_goes_on_after_a_lack_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "RETRY_SECONDS", 0.01)

    class Listener:
        """A socket that can't accept at first."""

        def __init__(self, real: socket.socket) -> None:
            self._real = real
            self.failures = 2

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(24, "Too many open files")
            return self._real.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    async def run() -> int:
        made: list[asyncio.Protocol] = []

        def make() -> asyncio.Protocol:
            made.append(asyncio.Protocol())
            return made[-1]

        with socket.create_server(("127.0.0.1", 0)) as real:
            listener: Any = Listener(real)
            accepting = Intake(listener, make, lambda: len(made), 10, Policy(), Spread([CLOSED], 0))
            with socket.create_connection(real.getsockname()):
                while not made:
                    await asyncio.sleep(0.01)
            accepting.close()
            accepting.close()
        return len(made)

    assert asyncio.run(run()) == 1


class Connected(asyncio.Protocol):
    """Remembers what it receives."""

    def __init__(self, opened: list[bytes]) -> None:
        self._opened = opened

    def data_received(self, data: bytes) -> None:
        self._opened.append(data)


def accept_in_overload(
    policy: Policy, sent: list[bytes], is_done: Callable[[list[bytes]], bool], *, leave: bool = False
) -> tuple[list[bytes], list[bytes]]:
    """Send on a connection each while there is an overload; return what was opened, and what the clients received."""
    opened: list[bytes] = []

    async def run(listener: socket.socket) -> None:
        clients = []
        for data in sent:
            clients.append(socket.create_connection(listener.getsockname(), timeout=DEADLINE))
            clients[-1].sendall(data)
            if leave:
                clients[-1].close()
        accepting = Intake(listener, lambda: Connected(opened), lambda: len(opened), 100, policy, Spread([CLOSED], 0))
        async with asyncio.timeout(DEADLINE):
            while not is_done(opened):
                await asyncio.sleep(0.01)
        accepting.close()
        async with asyncio.timeout(DEADLINE):
            while not leave and len(opened) + policy.late < len(sent):  # those of the lobby are opened at the end
                await asyncio.sleep(0.01)
        for client in clients:
            if not leave:
                client.settimeout(0.01)
                with suppress(TimeoutError):
                    received.append(client.recv(100))
            client.close()

    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(run(listener))
    return opened, received


def test_in_an_overload_a_probe_is_opened_before_those_that_came_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "TEND_SECONDS", DEADLINE)
    policy = Policy(is_overload=True)
    opened, _ = accept_in_overload(policy, [b"POST 1", b"POST 2", PROBE, SCRAPE], lambda opened: len(opened) >= 2)
    assert opened[:2] == [PROBE, SCRAPE]
    assert sorted(opened[2:]) == [b"POST 1", b"POST 2"]  # accepted, so they are served though accepting has ended


def test_in_an_overload_the_newest_connection_is_opened_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Policy, "longest_wait", DEADLINE)
    monkeypatch.setattr(intake, "OPENING_SECONDS", 0.0)  # one at a time
    sent = [b"POST %d" % number for number in range(4)]
    opened, _ = accept_in_overload(Policy(is_overload=True), sent, lambda opened: len(opened) == 4)
    assert opened == sent[::-1]


def test_in_an_overload_a_connection_that_waited_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake.Lobby, "take_newest", lambda _: iter(()))
    policy = Policy(is_overload=True)
    opened, received = accept_in_overload(policy, [b"POST 1", b"POST 2"], lambda _: policy.late == 2)
    assert (opened, received) == ([], [b"too late"] * 2)


def test_in_an_overload_a_client_that_has_left_is_counted() -> None:
    policy = Policy(is_overload=True)
    opened, _ = accept_in_overload(policy, [b"POST 1", b"POST 2"], lambda _: policy.left == 2, leave=True)
    assert (opened, policy.late) == ([], 0)


def test_who_left_before_the_connection_was_accepted_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> socket.socket:
            accepted = listener.accept()[0]
            accepted.setblocking(False)
            return accepted

        def is_found(accepted: socket.socket, expected: Callable[[Any], bool]) -> None:
            wait_until(lambda: expected(peek(accepted)))
            accepted.close()

        with socket.create_connection(listener.getsockname()) as client, accept() as accepted:
            assert peek(accepted) == (b"", 0.0)
            client.sendall(b"POST")
            is_found(accepted, lambda found: found is not None and found.begins == b"POST" and found.waited > 0)
        client = socket.create_connection(listener.getsockname())
        client.sendall(b"POST")
        client.close()
        is_found(accept(), lambda found: found is None)
        client = socket.create_connection(listener.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        is_found(accept(), lambda found: found is None)
