"""Hand over the listening socket from a running service to its successor, without losing a connection.

The supervisor of a service listens on a Unix socket in a folder that only its user can enter. Its successor, started
with ``--take-over``, receives the listening socket over it, starts its workers, and tells the service when they are
ready; the service then drains and exits. docs/decisions/restarts.md has the reasons.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import struct
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from churn.errors import ChurnError
from service.wire.listening import BACKLOG, describe_address, ignore_new, probe_peers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_SECONDS = 10.0
"""Time within which a running service must answer its successor; its supervisor looks ten times per second."""

GREETING = {b"churn: bound": False, b"churn: inherited": True}
"""Message that comes with the socket: whether a service manager holds the socket open."""

SERVING = b"serving"

MAX_PATH_BYTES = 100

_log = logging.getLogger(__name__)


class HandoverError(ChurnError):
    """A running service does not hand over its socket, or there is no safe folder to ask it in."""


class ServedSocket:
    """The listening socket in the process of the supervisor, and its way to a successor.

    Parameters
    ----------
    listener : socket
    is_inherited : bool
        Whether a service manager holds the socket open.
    predecessor : socket, optional
        Connection to the service that has handed the socket over, which waits for this one to be ready.

    Attributes
    ----------
    listener : socket
    is_inherited : bool
    on_taken_over : callable
        Called when a successor accepts the connections.
    """

    def __init__(
        self, listener: socket.socket, *, is_inherited: bool = False, predecessor: socket.socket | None = None
    ) -> None:
        self.listener = listener
        self.is_inherited = is_inherited
        self._predecessor = predecessor
        self._offer: _Offer | None = None
        self.on_taken_over: Callable[[], None] = lambda: None

    @property
    def is_shared(self) -> bool:
        """Whether the socket is open elsewhere, so that connections that wait are not lost with this process."""
        return self.is_inherited or (self._offer is not None and self._offer.is_given)

    def listen(self) -> None:
        """Listen, so that connections wait for the workers.

        Raises
        ------
        HandoverError
            If another process has begun to listen on the address since this one was bound to it.
        """
        try:
            self.listener.listen(BACKLOG)
        except OSError as error:
            raise HandoverError(f"{describe_address(self.listener)}: {error.strerror}") from error

    def note_serving(self) -> None:
        """Tell the predecessor to drain, and offer the socket to a successor."""
        if self._predecessor is not None:
            with suppress(OSError):  # it has ended meanwhile
                self._predecessor.sendall(SERVING)
            self._predecessor.close()
            self._predecessor = None
        if self._offer is None:
            try:
                self._offer = _Offer(self.listener, is_inherited=self.is_inherited)
            except (OSError, HandoverError) as error:
                _log.warning("this service can't hand over its socket (churn serve --take-over): %s", error)

    def is_taken_over(self) -> bool:
        """Return whether a successor accepts the connections."""
        if self._offer is None or not self._offer.look():
            return False
        self.on_taken_over()
        return True

    def ignore_new(self) -> None:
        """Let the kernel ignore new connections."""
        ignore_new(self.listener)

    def close(self) -> None:
        """Close the sockets of this process."""
        for opened in (self._predecessor, self._offer, self.listener):
            if opened is not None:
                opened.close()


class _Offer:
    """A Unix socket on which a successor asks for the listening socket."""

    def __init__(self, listener: socket.socket, *, is_inherited: bool) -> None:
        self._listener = listener
        self._greeting = next(words for words, held in GREETING.items() if held == is_inherited)
        self._path = find_folder(create=True) / name_address(listener.getsockname())
        self._socket = socket.socket(socket.AF_UNIX)
        self._successor: socket.socket | None = None
        self.is_given = False
        own = self._path.with_suffix(f".{os.getpid()}")
        try:
            with _short(own) as short:
                self._socket.bind(short)
            self._socket.listen(1)
            self._socket.setblocking(False)
            self._inode = own.stat().st_ino
            own.rename(self._path)  # in place of a predecessor's
        except BaseException:
            self._socket.close()
            own.unlink(missing_ok=True)
            raise

    def look(self) -> bool:
        """Answer a successor; return whether it has told that it serves."""
        with suppress(BlockingIOError):
            asking, _ = self._socket.accept()
            self._answer(asking)
        if self._successor is None:
            return False
        try:
            told = self._successor.recv(len(SERVING))
        except BlockingIOError:
            return False
        except OSError:
            told = b""
        if told == SERVING:
            _log.info("another process accepts the connections now; draining")
            return True
        _log.info("the process that was about to take over has exited")
        self._successor.close()
        self._successor, self.is_given = None, False
        return False

    def _answer(self, asking: socket.socket) -> None:
        if self._successor is not None or not _is_same_user(asking):
            asking.close()
            return
        asking.setblocking(False)
        try:
            socket.send_fds(asking, [self._greeting], [self._listener.fileno()])
        except OSError:
            asking.close()
            return
        self._successor, self.is_given = asking, True
        _log.info("another process is about to take over")

    def close(self) -> None:
        """Stop offering."""
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:  # not the successor's
                self._path.unlink()
        self._socket.close()
        if self._successor is not None:
            self._successor.close()


def take_over(host: str, port: int) -> ServedSocket | None:
    """Ask the service that listens on an address for its socket.

    Returns
    -------
    ServedSocket or None
        None if no service offers its socket.

    Raises
    ------
    HandoverError
        If the service does not answer, or is handing over to another process.
    OSError
        If the host is unknown.
    """
    address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][4]
    path = find_folder(create=False) / name_address(address)
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_SECONDS)
        try:
            with _short(path) as short:
                asking.connect(short)
        except (FileNotFoundError, ConnectionRefusedError):  # none, or one that was killed
            return None
        if not _is_same_user(asking):
            raise HandoverError(f"{path} belongs to another user's process; allowed: a service of the same user")
        try:
            words, (given, *_), _, _ = socket.recv_fds(asking, max(map(len, GREETING)), 1)
        except (OSError, ValueError):
            raise HandoverError(
                f"the service on {host}:{port} does not hand over its socket: it did not answer within "
                f"{ANSWER_SECONDS:g} s, or is handing over to another process; stop that one, or try again"
            ) from None
        listener = socket.socket(fileno=given)
        probe_peers(listener)
        asking.settimeout(None)
        return ServedSocket(listener, is_inherited=GREETING.get(words, False), predecessor=asking.dup())


def find_folder(*, create: bool) -> Path:
    """Return the folder of this user's Unix sockets, in ``XDG_RUNTIME_DIR`` or the folder of temporary files.

    Raises
    ------
    HandoverError
        If others may enter the folder.
    OSError
        If it can't be created.
    """
    user = os.getuid()
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime) / "churn" if runtime else Path(tempfile.gettempdir()) / f"churn-{user}"
    if create:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    elif not folder.exists():
        return folder
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or stat.S_IMODE(found.st_mode) & 0o077:
        raise HandoverError(f"{folder} is not a folder that only its user can enter; allowed: mode 700, owner {user}")
    return folder


def name_address(address: tuple[object, ...]) -> str:
    """Return the name of the Unix socket for an address that a service listens on."""
    host, port = address[:2]
    return f"{host}-{port}.socket".replace("/", "_")


def _is_same_user(connection: socket.socket) -> bool:
    """Return whether the process at the other end has this user; true where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):  # the folder's mode protects it
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.getuid())


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of a Unix socket that is short enough for the kernel, which allows about 100 bytes."""
    if len(os.fsencode(path)) < MAX_PATH_BYTES or not Path("/proc/self/fd").exists():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
