"""The files of the page: their headers, their origin and their weight; and that they can be switched off."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from keyed import add_key
from running import start

from service.console.files import FOLDER, name_release, read_files
from service.console.routes import FRAME_POLICY, POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

MAX_BYTES = 150 * 1024
VENDOR = FOLDER / "vendor"
ROW = re.compile(r"^\| `(.+?)` \| .+? \| ([\d.]+) \| `.+?` \| (.+?) \| `([0-9a-f]{64})` \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with start(REPOSITORY / "models", admin=True) as client:
        yield client


def addresses(client: TestClient) -> list[str]:
    page = client.get("/").text
    return re.findall(r'(?:href|src)="(console/.+?)"', page)


def test_every_answer_of_the_page_has_a_strict_policy(client: TestClient) -> None:
    assert "unsafe" not in POLICY + FRAME_POLICY
    assert "default-src 'none'" in POLICY
    answers = [client.get("/"), client.get("/", headers={"if-none-match": "*"})]
    answers += [client.get(f"/console/{name_release()}/{name}") for name in read_files()]
    for answer in answers:
        assert answer.status_code == 200, answer.url
        framed = answer.url.path.endswith("frame.html")
        assert answer.headers["content-security-policy"] == (FRAME_POLICY if framed else POLICY)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_no_file_names_an_address_elsewhere_or_has_a_script_inside() -> None:
    for name, file in read_files().items():
        text = file.content.decode()
        if not name.startswith("vendor/"):
            assert set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) <= {"//www.w3.org", "http://www.w3.org"}, name
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), name
    page = (FOLDER / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style| style=| on\w+=", page)


def test_all_files_that_the_page_and_its_modules_name_exist(client: TestClient) -> None:
    named = addresses(client)
    assert len(named) >= 4
    for address in named:
        assert client.get(f"/{address}").status_code == 200, address
    for name, file in read_files().items():
        for target in re.findall(r'(?:from|import\(|load\()\s*"(\.{1,2}/.+?)"', file.content.decode()):
            assert normpath(join(dirname(name), target)) in read_files(), f"{name} imports {target}"


def test_a_browser_that_has_a_file_gets_no_second_copy(client: TestClient) -> None:
    for path, caching in (("/", "no-cache"), (f"/{addresses(client)[0]}", "public, max-age=31536000, immutable")):
        first = client.get(path)
        assert first.headers["cache-control"] == caching
        again = client.get(path, headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(path, headers={"if-none-match": '"other"'}).status_code == 200


def test_files_are_compressed_for_those_who_accept_that(client: TestClient) -> None:
    for name, file in read_files().items():
        path = f"/console/{name_release()}/{name}"
        assert gzip.decompress(file.compressed) == file.content
        assert client.get(path).headers["content-encoding"] == "gzip"
        plain = client.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.content == file.content
        assert client.head(path).content == b""


def test_the_first_view_is_light(client: TestClient) -> None:
    charts = f"console/{name_release()}/vendor/uplot.js"
    sizes = {path: int(client.get(f"/{path}").headers["content-length"]) for path in ["", *addresses(client), charts]}
    # Other modules are loaded with another view.
    assert sum(sizes.values()) <= MAX_BYTES, sizes


def test_the_libraries_are_those_of_the_table() -> None:
    table = (VENDOR / "README.md").read_text()
    rows = {name: digest for name, _, _, digest in ROW.findall(table)}
    assert rows == {
        path.name: sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir() if path.suffix in {".js", ".css"}
    }
    licences = (VENDOR / "LICENSES.txt").read_text()
    assert licences.count("The MIT License (MIT)") == 2
    assert "Apache License" in licences


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console/x",
        "/console/x/base.css",
        "/console/{release}/index.html",
        "/console/{release}/../routes.py",
        "/console/{release}/vendor/README.md",
    ],
)
def test_nothing_but_the_files_is_served(client: TestClient, path: str) -> None:
    assert client.get(path.replace("{release}", name_release())).status_code == 404


def test_nothing_of_it_is_there_when_it_is_switched_off(tmp_path: Path) -> None:
    paths = ["/", *(f"/console/{name_release()}/{name}" for name in read_files())]
    with start(REPOSITORY / "models", console=False) as client:
        assert {client.get(path).status_code for path in paths} == {404}
        assert client.get("/model").status_code == 200
    add_key(tmp_path / "keys.json", "crm", ["predict"])
    with start(REPOSITORY / "models", console=False, api_keys=tmp_path / "keys.json") as client:
        assert {client.get(path).status_code for path in paths} == {404}


def test_it_needs_no_key_and_gives_nothing_away(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "crm", ["predict"])
    with start(REPOSITORY / "models", api_keys=tmp_path / "keys.json") as client:
        page = client.get("/")
        assert page.status_code == 200
        assert "CreditScore" not in page.text
        assert client.get("/model").status_code == 401
        assert client.get("/model", headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_the_page_says_what_this_service_offers() -> None:
    for changes, parts in (
        ({}, "metrics"),
        ({"admin": True}, "metrics admin"),
        ({"metrics": False}, ""),
        ({"admin": True, "metrics": False}, "admin"),
    ):
        with start(REPOSITORY / "models", **changes) as client:
            assert f'name="churn-parts" content="{parts}"' in client.get("/").text


def test_its_requests_are_counted_under_two_names(client: TestClient) -> None:
    for path in ("/", f"/{addresses(client)[0]}", "/console/unknown"):
        client.get(path)
    metrics = client.get("/metrics").text
    routes = set(re.findall(r'churn_requests_total\{.*?route="(.*?)"', metrics))
    assert {"/", "/console"} <= routes
    assert not {route for route in routes if route.startswith("/console/")}
