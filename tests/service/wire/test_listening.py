"""The listening socket: what waits in its queue while the kernel ignores new connections, and who accepts it."""

from __future__ import annotations

import socket
import sys
import threading

import pytest
from waiting import wait_until

from service.guard.progress import Progress
from service.wire.listening import (
    BACKLOG,
    admit_new,
    bind,
    count_waiting,
    describe_address,
    ignore_new,
    is_ignoring_new,
)
from service.wire.spread import CLOSED, Spread

linux = pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")


@linux
@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_connections_that_wait_are_served_while_new_ones_are_ignored(host: str, url: str) -> None:
    try:
        listener = bind(host, 0)
    except OSError:
        pytest.skip(f"there is no {host}")
    with listener:
        listener.listen(BACKLOG)
        assert describe_address(listener) == f"{url}{listener.getsockname()[1]}"
        assert not is_ignoring_new(listener)
        with socket.create_connection(listener.getsockname()[:2]) as early:
            wait_until(lambda: count_waiting(listener) == 1)
            ignore_new(listener)
            assert is_ignoring_new(listener)
            with socket.socket(listener.family) as late:
                late.setblocking(False)
                late.connect_ex(listener.getsockname())
                accepted, _ = listener.accept()
                with accepted:  # it has inherited the filter, which passes everything but attempts to connect
                    early.sendall(b"a request")
                    assert accepted.recv(9) == b"a request"
                    accepted.sendall(b"a response")
                    assert early.recv(10) == b"a response"
                assert count_waiting(listener) == 0
                admit_new(listener)
                assert not is_ignoring_new(listener)
                wait_until(lambda: count_waiting(listener) == 1)  # the kernel of the client has tried again


def test_a_worker_ahead_of_another_that_accepts_leaves_connections_to_it() -> None:
    counts = [CLOSED, CLOSED, CLOSED]
    first, second = Spread(counts, 0), Spread(counts, 1)
    assert not first.is_ahead(1000)  # alone
    second.report(10)
    assert not first.is_ahead(11)
    assert first.is_ahead(12)
    second.report(1000)
    assert not first.is_ahead(1060)
    assert first.is_ahead(1080)
    assert not second.is_ahead(1000)
    second.report(CLOSED)
    assert not first.is_ahead(1080)


def test_a_thread_that_has_much_to_do_makes_progress_and_one_that_is_blocked_does_not() -> None:
    progress, steps, done = Progress(), threading.Semaphore(0), threading.Semaphore(0)

    def work() -> None:
        for _ in range(3):
            progress.run(steps.acquire)
            done.release()

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(2):
        wait_until(lambda: progress.is_working)
        progress.watch(1.0)
        progress.watch(1.0)
        assert progress.stalled_seconds == 1.0
        steps.release()
        done.acquire()
    wait_until(lambda: progress.is_working)
    progress.watch(1.0)
    assert progress.stalled_seconds == 0.0  # another piece
    for _ in range(5):
        progress.watch(1.0)
    assert progress.stalled_seconds == 5.0
    steps.release()
    thread.join()
    progress.watch(1.0)
    assert progress.stalled_seconds == 0.0
