"""A service in this process that is fed bytes without a socket, and measures what a request costs it.

Measured is the CPU time; on demand also the longest time for which the event loop could do nothing else, and by how
much the memory of the process grew. Linux only.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple

import uvicorn
from uvicorn.server import ServerState

from service.app import ChurnService
from service.errors import RequestProblem
from service.settings import Settings
from service.wire.reading import IDLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from service.media_types import TableFormat

READ_BYTES = 256 * 1024
"""The most that uvloop reads from a socket at once."""

BEAT_SECONDS = 0.001
"""Resolution of timers in uvloop. A shorter delay is none: the loop would turn without a pause, and take the
interpreter from the thread that scores."""

FEW_TURNS = 20
"""Turns of the event loop without a change after which an incomplete request is given up: nothing more comes."""

PATIENCE_SECONDS = 4.0
"""Time after which the client leaves. A table may take longer, but is processed in equal steps."""

PREDICT, INFER = "/predict", "/v2/models/churn/infer"


class Cost(NamedTuple):
    """What a request cost.

    Attributes
    ----------
    status : int
        Of the first response; 0 if there is none.
    computed : float
        CPU time of this process in seconds until the response was complete.
    blocked : float
        Longest time in seconds for which the event loop could do nothing else; 0 if it was not measured.
    grown : int
        Bytes by which the memory grew at most; 0 if it was not measured.
    """

    status: int
    computed: float
    blocked: float = 0.0
    grown: int = 0


class Pipe(asyncio.Transport):
    """A transport whose client reads everything.

    Attributes
    ----------
    changed : asyncio.Event
        Set when something is written, when the connection is closed, and when the client may go on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = b""
        self.changed = asyncio.Event()
        self.is_closed = self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take a part of the response, and keep its beginning."""
        if len(self.start) < 20:
            self.start += bytes(data[:20])
        self.changed.set()

    def close(self) -> None:
        """Close."""
        self.is_closed = True
        self.changed.set()

    abort = write_eof = close

    def is_closing(self) -> bool:
        """Return whether it is closed."""
        return self.is_closed

    def pause_reading(self) -> None:
        """Let the client wait."""
        self.is_paused = True

    def resume_reading(self) -> None:
        """Let the client go on."""
        self.is_paused = False
        self.changed.set()

    def get_write_buffer_size(self) -> int:
        """Return what the client has not read."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing."""


def read_memory(name: str) -> int:
    """Return a figure of /proc/self/status in bytes, e.g. VmRSS or VmHWM."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def settle_memory() -> int:
    """Return freed memory to the system, reset the high-water mark and return the memory in use."""
    gc.collect()
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return read_memory("VmRSS")


class InProcess:
    """A service whose model is loaded.

    Parameters
    ----------
    app : ChurnService
    settings : Settings
    """

    def __init__(self, app: ChurnService, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._config = uvicorn.Config(app, ws="none", log_config=None, timeout_keep_alive=75)

    async def send(self, data: bytes, *, weighs: bool = False) -> Cost:
        """Send bytes over a new connection, in reads of `READ_BYTES`, and measure.

        Parameters
        ----------
        data : bytes
        weighs : bool
            Whether to measure the memory and the event loop, which takes 10 ms and more.
        """
        before = settle_memory() if weighs else 0
        beat = _Beat() if weighs else None
        began = process_time()
        pipe = Pipe()
        connection = self._app.protocol(self._config, ServerState(), {})
        connection.connection_made(pipe)
        _tell_when_complete(connection, pipe.changed)
        leaving = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, pipe.close)
        for first in range(0, len(data), READ_BYTES):
            while pipe.is_paused and not pipe.is_closed:
                await _wait(pipe)
            if pipe.is_closed:
                break
            connection.data_received(data[first : first + READ_BYTES])
            await asyncio.sleep(0)
        await self._finish(connection, pipe)
        leaving.cancel()
        computed = process_time() - began
        grown = max(0, read_memory("VmHWM") - before) if weighs else 0
        if connection.parser is not None:
            connection.connection_lost(None)
        blocked = 0.0 if beat is None else await beat.stop()
        status = int(pipe.start[9:12]) if pipe.start[9:12].isdigit() else 0
        return Cost(status, computed, blocked, grown)

    def work(self, form: TableFormat, body: bytes, *, rejects: bool) -> Cost:
        """Do with a table of one block what the service does with it in its thread, without a connection.

        Parameters
        ----------
        form : {"csv", "arrow"}
        body : bytes
            At most `service.tables.endpoint.BLOCK_BYTES`.
        rejects : bool
            Whether wrong rows are returned with their errors.
        """
        from service.tables.job import TableJob
        from service.tables.limits import TableLimits

        model = self._app.model_state.model
        assert model is not None  # noqa: S101  `serve` has waited for it
        began, status = process_time(), 200
        job = TableJob(model.scorer, form, rejects=rejects, limits=TableLimits.of(self._settings))
        try:
            for _ in job.work(body, last=True, pack=lambda: False):
                pass
        except RequestProblem as problem:
            status = problem.status
        except Exception:  # noqa: BLE001  what the service would answer with 500
            status = 500
        return Cost(status, process_time() - began)

    async def _finish(self, connection: Any, pipe: Pipe) -> None:  # noqa: ANN401  a Connection
        """Wait for the response, if one can be expected."""
        idle = 0
        while connection.is_in_flight and not pipe.is_closed:
            if connection.reading is IDLE or self._app.processor.progress.is_working:
                await _wait(pipe)
                idle = 0
            elif idle == FEW_TURNS:
                break
            else:
                idle = 0 if pipe.changed.is_set() else idle + 1
                pipe.changed.clear()
                await asyncio.sleep(0)


def _tell_when_complete(connection: Any, event: asyncio.Event) -> None:  # noqa: ANN401  a Connection
    """Set an event when a response is complete, which need not be when its last part is written."""
    complete = connection.on_response_complete

    def note() -> None:
        complete()
        event.set()

    connection.on_response_complete = note


async def _wait(pipe: Pipe) -> None:
    await pipe.changed.wait()
    pipe.changed.clear()


class _Beat:
    """Calls itself again and again, and notes the longest time between two calls.

    Other processes of the machine delay it, too: time in which this process did not compute does not count.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self._last, self._computed = perf_counter(), process_time()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(BEAT_SECONDS, self._call)

    def _call(self) -> None:
        self._note()
        self._handle = self._loop.call_later(BEAT_SECONDS, self._call)

    def _note(self) -> None:
        now, computed = perf_counter(), process_time()
        self.longest = max(self.longest, min(now - self._last, computed - self._computed))
        self._last, self._computed = now, computed

    async def stop(self) -> float:
        """Stop after one more call, and return the longest time."""
        await asyncio.sleep(0)
        self._note()
        self._handle.cancel()
        return self.longest


@asynccontextmanager
async def serve(models: Path, **changes: Any) -> AsyncIterator[InProcess]:  # noqa: ANN401  settings
    """Load the current model of a folder."""
    given: dict[str, Any] = {"models": models, "engine": "onnx", "access_log": False}
    settings = Settings(**(given | changes))
    app = ChurnService(settings)
    async with app.router.lifespan_context(app):
        while app.model_state.phase != "ready":
            await asyncio.sleep(0.05)
        yield InProcess(app, settings)
        with suppress(RuntimeError):
            await asyncio.sleep(0)


def frame(path: str, media_type: str, body: bytes, fields: str = "") -> bytes:
    """Return a request; `fields` are lines of its head."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {media_type}\r\n{fields}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
