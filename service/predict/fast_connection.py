"""A connection that uses the fast path where possible, and the application otherwise."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from service.guard.caller import API_KEY, AUTHORIZATION
from service.media_types import find_table
from service.predict.endpoint import JSON, PATH
from service.wire.connection import Connection
from service.wire.reading import FAST_BODY, IDLE

if TYPE_CHECKING:
    from service.guard.caller import Caller
    from service.guard.gate import Gate
    from service.predict.fast_path import FastPath

_URL = PATH.encode()


class FastConnection(Connection):
    """A connection of a client.

    Parameters
    ----------
    fast_path : FastPath
        Shared by all connections of a worker.
    *arguments, **options
        Passed to `Connection`.
    """

    def __init__(self, fast_path: FastPath, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self._fast_path = fast_path
        self._fields: dict[bytes, bytes] = {}
        self._body = b""
        self._keeps_alive = True
        self._gate = fast_path.gate
        self._caller: Caller | None = None  # who has sent `_sent`
        self._sent_as = self._sent = b""  # the last credential that was recognised: its header, and the value
        self._generation = -1

    def take_fast_path(self, fields: dict[bytes, bytes]) -> bool:
        """Accept `POST /predict` with a small JSON body of known length, if the application has no pending request."""
        parser = self.parser
        if (
            self.url == _URL
            and self.running is None
            and parser.get_method() == b"POST"
            and (length := fields.get(b"content-length"))
            and int(length) <= self._fast_path.max_body  # larger ones are processed in a thread
            and ((media_type := fields.get(b"content-type", b"")) == JSON or find_table(media_type) is None)
            and b"transfer-encoding" not in fields
            and b"content-encoding" not in fields
            and b"expect" not in fields
            and not self.flow.write_paused
            and (self._gate is None or self._recognise(self._gate, fields))
        ):
            self._keeps_alive = parser.should_keep_alive() and not self._is_guest
            # HTTP/1.1 keeps connections by default and HTTP/1.0 does not. Reading the version is slower.
            if (self._keeps_alive and b"connection" not in fields) or parser.get_http_version() == "1.1":
                self._fields, self._body = fields, b""
                return True
        return False

    def _recognise(self, gate: Gate, fields: dict[bytes, bytes]) -> bool:
        """Return whether it is known who has sent a request; whoever is not goes to the application to be verified."""
        if len(fields) != len(self.headers):  # one is repeated, maybe the credential
            return False
        name = API_KEY if API_KEY in fields else AUTHORIZATION
        sent = fields.get(name, b"")
        if name is self._sent_as and self._generation == gate.generation and compare_digest(sent, self._sent):
            return name is AUTHORIZATION or AUTHORIZATION not in fields
        caller = gate.find_known(self.headers)
        if caller is None:
            return False
        self._caller, self._generation = caller, gate.generation
        self._sent_as, self._sent = name, sent
        return True

    def leave_fast_path(self) -> None:
        """Pass the request to the application, which limits the time and size of the rest of the body."""
        body = self._body
        self.begin_exchange()
        if body:
            self.newest.take_body(body)

    def flush_fast_path(self) -> None:
        """Score the pending requests and write their responses."""
        self._fast_path.flush()

    def resume(self, waited: float) -> None:
        """Parse the request that has been waiting, and learn its head if it is whole and on the fast path."""
        data, due = self.held, self.fast_due
        super().resume(waited)
        if self.fast_due == due + 1 and self._keeps_alive and self.reading is IDLE and not self.is_closing():
            self._traffic.refusals.heads.learn(data, len(self._body))

    def on_body(self, body: bytes) -> None:
        """Handle a part of the body."""
        if self.reading is FAST_BODY:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Handle a complete request."""
        if self.reading is FAST_BODY:
            self.reading = IDLE
            if self.refusal is None:
                self.fast_due += 1
                self._fast_path.answer(self, self._fields, self._body, self._caller, keep_alive=self._keeps_alive)
            elif not self._keeps_alive or self.fast_due or not self.refuse_cheaply(self.waited):
                self.fast_due += 1
                self._fast_path.refuse(self, self._fields, self.refusal, keep_alive=self._keeps_alive)
        else:
            super().on_message_complete()
