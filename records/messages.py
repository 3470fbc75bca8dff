"""Messages between a worker of the service and the process that writes its records.

In mode durable a worker sends frames of entries, and the writer acknowledges them. In mode behind it appends frames to
files, and says how many customers there are; the writer says how many it has loaded. An entry is what the worker has at
hand; making one `Decision` per customer of it is left to the writer, so that the worker spends little time.
"""

from __future__ import annotations

import struct
from typing import Any, Literal, NamedTuple

import msgspec

HEAD = struct.Struct("<I")
"""Length of the message that follows."""

State = Literal["committed", "lost", "refused"]
"""What became of a frame: in the database; nowhere; nowhere, and the answers that wait for it must say so."""


class Origin(NamedTuple):
    """What scored a customer.

    Attributes
    ----------
    threshold : float
    model_version, manifest_sha256, engine : str
    """

    threshold: float
    model_version: str
    manifest_sha256: str
    engine: str


class Single(msgspec.Struct, array_like=True, tag=1, gc=False):
    """A request with one customer: `body` is the customer as it was sent."""

    time: int
    request_id: str
    key: str | None
    identifier: str | int | None
    body: bytes
    probability: float
    origin: int
    reasons: str | None = None
    read_as: str | None = None


class Many(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A request with a list of customers, each with its probability and the position of its origin in the frame."""

    time: int
    request_id: str
    key: str | None
    identifiers: list[str | int | None] | None
    body: bytes
    probabilities: list[float]
    origins: list[int]
    reasons: list[str] | None = None
    read_as: str | None = None


class Texts(msgspec.Struct, array_like=True, tag=3, gc=False):
    """Customers whose inputs were written as JSON already.

    `origins` are those of each customer, if they are not all `origin`; files of older programs have none.
    """

    time: int
    request_id: str
    key: str | None
    identifiers: list[str | int | None] | None
    inputs: list[str]
    probabilities: list[float]
    origin: int
    reasons: list[str] | None = None
    read_as: str | None = None
    origins: list[int] | None = None


class Block(msgspec.Struct, array_like=True, tag=4, gc=False):
    """Rows of a table, as an Arrow stream of one batch; `identifier` is the name of a column, if there is one.

    `origins` is as in `Texts`.
    """

    time: int
    request_id: str
    key: str | None
    identifier: str
    rows: bytes
    probabilities: list[float]
    origin: int
    reasons: list[str] | None = None
    read_as: str | None = None
    origins: list[int] | None = None


Entry = Single | Many | Texts | Block


class Frame(msgspec.Struct, array_like=True, tag=1, gc=False):
    """Entries that are sent or appended together.

    Attributes
    ----------
    number : int
        Counted by the worker from 1, among those that are sent.
    count : int
        Number of customers.
    origins : list of tuple
        Fields of the `Origin` of each model.
    entries : list of Entry
    """

    number: int
    count: int
    origins: list[tuple[float, str, str, str]]
    entries: list[Entry]


class Start(msgspec.Struct):
    """The first message to a writer.

    Attributes
    ----------
    url : str
    is_durable : bool
    spill : str
        Folder of the files. In mode durable, those that services of mode behind have left are loaded.
    session : str
        Of the worker; the same after its writer has been replaced.
    lag : float
        Seconds after which records must be flushed to the disk, in a file if not in the database.
    writer : int or None
        Of a writer of frames that has ended and is continued.
    position : int
        Number of customers of the session that another writer has dealt with.
    """

    url: str
    is_durable: bool
    spill: str
    session: str
    lag: float = 1.0
    writer: int | None = None
    position: int = 0


class Appended(msgspec.Struct, array_like=True, tag=2):
    """The session's files have `end` customers now."""

    end: int


class Done(msgspec.Struct, array_like=True, tag=1):
    """Frames that were sent, up to `number`, have been dealt with.

    Attributes
    ----------
    number : int
    state : {"committed", "lost", "refused"}
    reason : str
        Why they were not committed.
    writer : int or None
        The writer's chain.
    """

    number: int
    state: State
    reason: str = ""
    writer: int | None = None


class Condition(msgspec.Struct, array_like=True, tag=2):
    """The state of the store has changed: why records can't be written, or an empty text if they can."""

    problem: str


class Loaded(msgspec.Struct, array_like=True, tag=3):
    """The first `end` customers of the session's files are dealt with; `lost` are those that could not be read."""

    end: int
    lost: int = 0


class Adopted(msgspec.Struct, array_like=True, tag=4):
    """Customers were loaded from files of a session that had ended.

    Attributes
    ----------
    customers : int
    size : int
        Bytes of such files that are left.
    lost : int
        Customers that could not be read.
    """

    customers: int
    size: int
    lost: int = 0


Report = Done | Condition | Loaded | Adopted

decode_frame = msgspec.msgpack.Decoder(Frame).decode
decode_message = msgspec.msgpack.Decoder(Frame | Appended).decode
decode_start = msgspec.msgpack.Decoder(Start).decode
decode_report = msgspec.msgpack.Decoder(Report).decode
_encode = msgspec.msgpack.Encoder().encode


def encode(message: Frame | Appended | Start | Report) -> bytes:
    """Return a message with its length before it."""
    data = _encode(message)
    return HEAD.pack(len(data)) + data


class Splitter:
    """Finds messages in received data."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete."""
        messages = []
        buffer = self._buffer
        buffer += data
        begin = 0
        while len(buffer) - begin >= HEAD.size:
            (length,) = HEAD.unpack_from(buffer, begin)
            end = begin + HEAD.size + length
            if len(buffer) < end:
                break
            messages.append(bytes(memoryview(buffer)[begin + HEAD.size : end]))
            begin = end
        del buffer[:begin]
        return messages


def count_customers(entries: list[Any]) -> int:
    """Return the number of customers of entries."""
    return sum(1 if isinstance(entry, Single) else len(entry.probabilities) for entry in entries)


def split_frame(frame: Frame) -> list[Frame]:
    """Return a frame for each entry of one."""
    return [Frame(frame.number, count_customers([entry]), frame.origins, [entry]) for entry in frame.entries]
