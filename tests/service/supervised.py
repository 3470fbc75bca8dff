"""A program whose workers do nothing but answer their supervisor, to try what the supervisor does with them.

``python supervised.py FOLDER START_SECONDS ANSWER_SECONDS``: each worker writes FOLDER/<its process>.worker with the
argument it was given, behaves as FOLDER/behaviour tells it to, and makes FOLDER/<its process>.answered when it first
answers a ping.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import ChurnError
from service import supervisor
from service.observe.multiprocess import share_metrics
from service.supervisor import Supervisor
from service.wire.spread import CLOSED
from service.worker import connect_supervisor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from service.worker import SupervisorPipe, Worker


class Idle:
    """A worker that is ready and serves nobody."""

    def __init__(self, phase: str, answered: Path, *, is_deaf: bool) -> None:
        self._phase = phase
        self._answered = answered
        self._is_deaf = is_deaf
        self._loop = asyncio.new_event_loop()

    def run(self, pipe: SupervisorPipe) -> None:
        pipe.attach(self._loop, self)
        if not self._is_deaf:
            self._loop.add_signal_handler(signal.SIGTERM, self._loop.stop)
        else:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._loop.run_forever()

    def describe_phase(self) -> str:
        self._answered.touch()
        return self._phase

    def receive(self, message: bytes) -> None:
        raise AssertionError(message)

    def accept(self) -> None:
        (self._answered.parent / f"{os.getpid()}.accepts").touch()

    def retire(self) -> None:
        self._loop.stop()

    def end_orphaned(self) -> None:
        self._loop.stop()


class Conductor:
    """Reads what workers are given from FOLDER/argument, as the models are read in the service."""

    is_idle = True

    def __init__(self, folder: Path) -> None:
        self._file = folder / "argument"
        self.lineup = self._file.read_text()
        self.fault = ""

    def look_again(self) -> None:
        argument = self._file.read_text()
        self.fault = "the new model is damaged" if argument == "bad" else ""
        if not self.fault:
            self.lineup = argument

    def tick(self, members: Sequence[Worker]) -> None:
        pass


class Listener:
    """A listening socket that nobody else has."""

    is_shared = False

    def listen(self) -> None:
        pass

    def note_serving(self) -> None:
        pass

    def is_taken_over(self) -> bool:
        return False

    def ignore_new(self) -> None:
        pass

    def close(self) -> None:
        pass


def work(folder: Path, argument: str, place: int, pipe: Connection) -> None:
    (folder / f"{os.getpid()}.worker").write_text(argument)
    (folder / f"{os.getpid()}.place").write_text(str(place))
    behaviour = (folder / "behaviour").read_text()
    if behaviour == "exit":
        sys.exit(3)
    if behaviour == "signal":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "silent":  # also a loop that blocks
        time.sleep(1000)
    phase = {"unready": "loading", "failed": "failed model.onnx is damaged"}.get(behaviour, "ready")
    with connect_supervisor(pipe) as supervisor:
        if behaviour == "raise":
            raise MemoryError("no room")
        Idle(phase, folder / f"{os.getpid()}.answered", is_deaf=behaviour == "deaf").run(supervisor)


def main(folder: Path, start_seconds: float, answer_seconds: float) -> None:
    logging.basicConfig(level="INFO", format="%(message)s")
    supervisor.FIRST_DELAY_SECONDS = 0.05

    try:
        with share_metrics():
            Supervisor(
                work,
                (folder,),
                2,
                answer_seconds=answer_seconds,
                start_seconds=start_seconds,
                drain_seconds=0.0,
                counts=[CLOSED] * (2 + supervisor.SPARE_PLACES),
                conductor=Conductor(folder),
                listener=Listener(),
            ).run()
    except ChurnError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
