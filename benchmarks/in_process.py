"""A service in this process that is fed bytes without a socket, and measures what a request costs it.

Measured are the longest time for which the event loop could do nothing else, in wall time, and by how much the memory
of the process grew beyond the bytes of the request. Linux only.
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
from service.settings import Settings
from service.wire.reading import IDLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

READ_BYTES = 256 * 1024
"""The most that uvloop reads from a socket at once."""

BEAT_SECONDS = 0.0005

FEW_TURNS = 20
"""Turns of the event loop in which an ordinary request is answered."""

PATIENCE_SECONDS = 4.0
"""Time after which the client leaves. A table may take longer, but is processed in equal steps."""

HIGH_WATER = 64 * 1024

PREDICT, INFER = "/predict", "/v2/models/churn/infer"


class Cost(NamedTuple):
    """What a request cost.

    Attributes
    ----------
    status : int
        Of the first response; 0 if there is none.
    blocked : float
        Longest time in seconds for which the event loop could do nothing else.
    seconds : float
        Time in seconds until the response was complete.
    grown : int
        Bytes by which the memory grew at most; 0 if it was not measured.
    """

    status: int
    blocked: float
    seconds: float
    grown: int


class Pipe(asyncio.Transport):
    """A transport whose client reads everything, or nothing."""

    def __init__(self, *, is_read: bool = True) -> None:
        super().__init__()
        self.start = b""
        self.size = 0
        self.is_closed = self.is_paused = self._is_full = False
        self._is_read = is_read
        self.protocol: Any = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Count a part of the response."""
        self.size += len(data)
        if len(self.start) < 1000:
            self.start += bytes(data[:1000])
        if not self._is_read and not self._is_full and self.size > HIGH_WATER:
            self._is_full = True
            self.protocol.pause_writing()

    def close(self) -> None:
        """Close."""
        self.is_closed = True

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

    def get_write_buffer_size(self) -> int:
        """Return what the client has not read."""
        return 0 if self._is_read else self.size

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
    """

    def __init__(self, app: ChurnService) -> None:
        self._app = app
        self._config = uvicorn.Config(app, ws="none", log_config=None, timeout_keep_alive=75)

    def connect(self, *, is_read: bool = True) -> Any:  # noqa: ANN401  a Connection
        """Return a connection of a client that reads all responses, or none."""
        pipe = Pipe(is_read=is_read)
        connection = self._app.protocol(self._config, ServerState(), {})
        pipe.protocol = connection
        connection.connection_made(pipe)
        return connection

    async def send(self, parts: Iterable[bytes], *, is_read: bool = True, weighs: bool = False) -> Cost:
        """Send bytes over a new connection, and measure.

        Parameters
        ----------
        parts : iterable of bytes
            Sent one after the other, in reads of `READ_BYTES`.
        is_read : bool
            Whether the client reads what it gets.
        weighs : bool
            Whether to measure the memory, which takes 10 ms.
        """
        before = settle_memory() if weighs else 0
        beat = _Beat()
        connection = self.connect(is_read=is_read)
        started = perf_counter()
        ends = started + PATIENCE_SECONDS
        pipe = connection.transport
        reads = (part[first : first + READ_BYTES] for part in parts for first in range(0, len(part), READ_BYTES))
        for read in reads:
            while pipe.is_paused and not pipe.is_closed and is_read and perf_counter() < ends:
                await asyncio.sleep(0)
            if pipe.is_closed or pipe.is_paused:
                break
            connection.data_received(read)
            await asyncio.sleep(0)
        waits = 0
        while (
            connection.is_in_flight and not pipe.is_closed and perf_counter() < ends and (is_read or waits < FEW_TURNS)
        ):
            waits += 1
            if waits > 2 * FEW_TURNS and connection.reading is not IDLE:
                break  # the request is incomplete, or has been refused
            await asyncio.sleep(0 if waits < FEW_TURNS else 0.001)
        seconds = perf_counter() - started
        grown = max(0, read_memory("VmHWM") - before) if weighs else 0
        if connection.parser is not None:
            connection.connection_lost(None)
        await beat.stop()
        status = int(pipe.start[9:12]) if pipe.start[9:12].isdigit() else 0
        return Cost(status, beat.longest, seconds, grown)


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

    async def stop(self) -> None:
        """Stop after one more call."""
        await asyncio.sleep(0)
        self._note()
        self._handle.cancel()


@asynccontextmanager
async def serve(models: Path, **changes: Any) -> AsyncIterator[InProcess]:  # noqa: ANN401  settings
    """Load the current model of a folder."""
    settings: dict[str, Any] = {"models": models, "engine": "onnx", "access_log": False}
    app = ChurnService(Settings(**(settings | changes)))
    async with app.router.lifespan_context(app):
        while app.model_state.phase != "ready":
            await asyncio.sleep(0.05)
        yield InProcess(app)
        with suppress(RuntimeError):
            await asyncio.sleep(0)


def frame(path: str, media_type: str, body: bytes, fields: str = "") -> bytes:
    """Return a request; `fields` are lines of its head."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {media_type}\r\n{fields}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
