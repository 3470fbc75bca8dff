"""What of uvicorn is private and yet relied on.

If one of these fails after an update of that package, the part that its message names has changed: compare it with
service/wire/uvicorn_internals.py, then note the new digest and raise the upper bound in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
import tomllib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import httptools
import pytest
import uvicorn
from bank import REPOSITORY
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState
from wires import echo

if TYPE_CHECKING:
    from collections.abc import Callable

CHANGED = f"uvicorn {version('uvicorn')} has changed {{}}"

DIGESTS: dict[Callable[..., Any], str] = {
    HttpToolsProtocol.__init__: "eefda6875ebd",
    HttpToolsProtocol.connection_made: "c8b2230c91b4",
    HttpToolsProtocol.connection_lost: "1b99df458c3b",
    HttpToolsProtocol._unset_keepalive_if_required: "df160182c46a",
    HttpToolsProtocol.data_received: "e74b210e3c04",
    HttpToolsProtocol.send_400_response: "769895267c15",
    HttpToolsProtocol.on_message_begin: "453ed691ca9d",
    HttpToolsProtocol.on_url: "5ffd0eec34d7",
    HttpToolsProtocol.on_header: "b89cbbc6db2a",
    HttpToolsProtocol.on_headers_complete: "f48ec6bbe75d",
    HttpToolsProtocol.on_body: "a02fa52bdf33",
    HttpToolsProtocol.on_message_complete: "87e5be1faf50",
    HttpToolsProtocol._start_asgi_task: "62f5730cb4eb",
    HttpToolsProtocol.on_response_complete: "4dfe4f257f50",
    HttpToolsProtocol.shutdown: "3fc90dd3d36a",
    HttpToolsProtocol.pause_writing: "942adeb76e2e",
    HttpToolsProtocol.resume_writing: "5211cfcc7289",
    HttpToolsProtocol.timeout_keep_alive_handler: "16ae57aa33cd",
    RequestResponseCycle.__init__: "f882611e893b",
    RequestResponseCycle.run_asgi: "0a5f7f242f6a",
    RequestResponseCycle.send: "089bd8725f6a",
    RequestResponseCycle.receive: "e7a392a4367a",
    uvicorn.Server.serve: "c250790d931d",
    uvicorn.Server._serve: "39cc33f92b5f",
    uvicorn.Server.startup: "b912bccc00bb",
    uvicorn.Server.main_loop: "c45ab2374086",
    uvicorn.Server.on_tick: "1de91c48f24f",
    uvicorn.Server.shutdown: "839636395b3d",
    uvicorn.Server.handle_exit: "82738a43d9a4",
    uvicorn.Server.capture_signals: "90b741862efc",
}
"""Of the source, whatever its layout, of each method that is called, replaced or relied on."""


def digest(function: Callable[..., Any]) -> str:
    return hashlib.sha256("".join(inspect.getsource(function).split()).encode()).hexdigest()[:12]


def test_the_version_is_bounded_from_above_and_installed_within() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (requirement,) = (name for name in project["dependencies"] if name.startswith("uvicorn"))
    bound = re.search(r"<(\d+)\.(\d+)$", requirement)
    assert bound, f"{requirement} has no upper bound"
    assert tuple(map(int, version("uvicorn").split(".")[:2])) < tuple(map(int, bound.groups()))


def test_private_parts_are_imported_in_one_file() -> None:
    private = re.compile(r"^\s*(?:from|import) uvicorn\.(?:protocols|server|config|_types)", re.MULTILINE)
    found = [path.name for path in (REPOSITORY / "service").rglob("*.py") if private.search(path.read_text())]
    assert found == ["uvicorn_internals.py"]


@pytest.mark.parametrize("function", DIGESTS, ids=lambda function: function.__qualname__)
def test_a_part_is_what_it_was(function: Callable[..., Any]) -> None:
    assert digest(function) == DIGESTS[function], CHANGED.format(
        f"{function.__qualname__}; its digest is now {digest(function)}"
    )


ATTRIBUTES = [
    "app",
    "loop",
    "logger",
    "access_logger",
    "access_log",
    "parser",
    "root_path",
    "asgi_version",
    "limit_concurrency",
    "app_state",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
    "server_state",
    "connections",
    "tasks",
    "transport",
    "flow",
    "server",
    "client",
    "scheme",
    "pipeline",
    "scope",
    "headers",
    "cycle",
]


def test_the_attributes_that_are_used_are_there() -> None:
    async def make() -> HttpToolsProtocol:
        return HttpToolsProtocol(uvicorn.Config(echo, log_config=None), ServerState(), {})

    protocol = asyncio.run(make())
    found = [(protocol, ATTRIBUTES), (ServerState(), ["total_requests", "connections", "tasks", "default_headers"])]
    for owner, names in found:
        absent = [name for name in names if not hasattr(owner, name)]
        assert not absent, CHANGED.format(f"{type(owner).__name__}: {absent} are gone")


def test_llhttp_stops_behind_a_head_with_an_offer_to_upgrade() -> None:
    """What `Connection._recover` relies on; where it stops is counted from the start of the last part."""

    class Calls:
        def on_header(self, _: bytes, __: bytes) -> None:
            pass

        def on_body(self, body: bytes) -> None:
            raise AssertionError(body)

    head = b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 4\r\n\r\n"
    for cut in range(len(head)):
        parser = httptools.HttpRequestParser(Calls())
        if cut:
            parser.feed_data(head[:cut])
        with pytest.raises(httptools.HttpParserUpgrade) as stop:
            parser.feed_data(head[cut:] + b"body")
        assert stop.value.args[0] == len(head) - cut
