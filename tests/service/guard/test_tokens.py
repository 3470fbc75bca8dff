"""Tokens of an identity provider: what is accepted, every attack that is not, and keys that change."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import os
import re
import socketserver
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from keyed import AUDIENCE, ISSUER, Provider, add_key
from waiting import DEADLINE

from service.errors import Problem
from service.guard import gate as gate_module
from service.guard import jwks as jwks_module
from service.guard.buckets import BucketFile, RateLimits
from service.guard.caller import CALLER
from service.guard.gate import Gate
from service.guard.jwks import FAMILIES, JwksError, KeySource, parse_keys
from service.guard.key_ring import KeyRing
from service.guard.keys_file import KeysFileError
from service.guard.places import find_party
from service.guard.tokens import TokenRules, has_form, name_token
from service.guard.verifier import Meters, Verifier
from service.observe.audit import AuditLog
from service.observe.metrics import Metrics
from service.settings import JWT_ALGORITHMS

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterator

RULES = TokenRules(ISSUER, AUDIENCE, ["RS256", "PS256", "ES256", "EdDSA"], 30.0, "churn:")


class Desk:
    """A gate that accepts tokens, and requests to it."""

    def __init__(self, location: str, rules: TokenRules = RULES) -> None:
        self.source = KeySource(location)
        if not self.source.is_remote:
            self.source.read()
        self.metrics = Metrics()
        self.audit = AuditLog()
        meters = Meters(BucketFile(), RateLimits(None, None))
        self.gate = Gate(Verifier(None, self.source, rules, meters), self.metrics.guard, self.audit)

    async def ask(self, token: str, path: str = "/predict", address: str = "10.0.0.1") -> int:
        self.scope: dict[str, Any] = {
            "path": path,
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "client": (address, 1),
        }
        try:
            await self.gate.admit(self.scope)
        except Problem as problem:
            self.problem = problem
            return problem.status
        return 200

    def count_refused(self, reason: str) -> float:
        return self.metrics._registry.get_sample_value("churn_refused_credentials_total", {"reason": reason}) or 0.0


def run(work: Callable[[Desk], Coroutine[Any, Any, None]], location: object, rules: TokenRules = RULES) -> None:
    async def run_in_loop() -> None:
        desk = Desk(str(location), rules)
        try:
            await work(desk)
        finally:
            desk.gate.close()
            desk.audit.close()

    asyncio.run(run_in_loop())


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture
def jwks(tmp_path: Path, provider: Provider) -> Path:
    provider.publish(tmp_path / "jwks.json")
    return tmp_path / "jwks.json"


def encode(part: object) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    given = {"iss": ISSUER, "aud": AUDIENCE, "sub": "teller", "scope": "churn:predict", "exp": time.time() + 3600}
    return given | changes


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_a_token_of_each_allowed_algorithm_is_accepted(algorithm: str, tmp_path: Path) -> None:
    provider = Provider(algorithm)
    provider.publish(tmp_path / "jwks.json")

    async def work(desk: Desk) -> None:
        token = provider.sign()
        assert await desk.ask(token) == 200
        assert desk.scope[CALLER].name == "token:teller"
        assert desk.scope[CALLER].label == "token:"
        assert await desk.ask(token, "/metrics") == 403
        assert desk.gate.find_known(desk.scope["headers"]) is desk.scope[CALLER]

    run(work, tmp_path / "jwks.json")


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({"scope": "churn:predict churn:metrics openid"}, {"predict", "metrics"}),
        ({"scope": None, "scp": ["churn:admin", 1]}, {"admin"}),
        ({"scope": None, "scp": "churn:admin churn:records"}, {"admin", "records"}),
        ({"scope": "predict admin churn: churn:everything CHURN:admin"}, set()),
        ({"scope": None}, set()),
        ({"scope": {"churn:admin": True}, "scp": 5}, set()),
        ({"aud": ["other", AUDIENCE]}, {"predict"}),
        ({"exp": lambda: time.time() - 10}, {"predict"}),  # within the leeway
        ({"nbf": lambda: time.time() + 10}, {"predict"}),
    ],
)
def test_scopes_are_those_of_the_token_with_the_prefix(
    changes: dict[str, Any], scopes: set[str], jwks: Path, provider: Provider
) -> None:
    async def work(desk: Desk) -> None:
        now = {name: value() if callable(value) else value for name, value in changes.items()}
        await desk.ask(provider.sign(**now))
        assert desk.scope[CALLER].scopes == scopes

    run(work, jwks)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": time.time() - 31}, "token-expired"),
        ({"exp": None}, "token-claims"),
        ({"exp": "tomorrow"}, "token-malformed"),
        ({"exp": 1e400}, "token-malformed"),
        ({"nbf": time.time() + 1000}, "token-early"),
        ({"iat": time.time() + 1000}, "token-early"),
        ({"iss": "https://idp.evil.example"}, "token-issuer"),
        ({"iss": ISSUER + "/"}, "token-issuer"),
        ({"iss": [ISSUER]}, "token-issuer"),
        ({"iss": None}, "token-claims"),
        ({"aud": "another"}, "token-audience"),
        ({"aud": []}, "token-claims"),
        ({"aud": None}, "token-claims"),
        ({"aud": {"churn": 1}}, "token-audience"),
        ({"sub": 5}, "token-malformed"),
        ({"exp": 10**400}, "token-malformed"),
    ],
)
def test_claims_that_are_wrong_or_missing_are_refused(
    changes: dict[str, Any], reason: str, jwks: Path, provider: Provider
) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.ask(provider.sign(**changes)) == 401
        assert desk.count_refused(reason) == 1
        assert 'error="invalid_token"' in desk.problem.headers["WWW-Authenticate"]

    run(work, jwks)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 5, ["RS256"]])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_an_unsigned_token_is_refused(algorithm: Any, signature: str, jwks: Path) -> None:
    token = f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': '1'})}.{encode(claims())}.{signature}"

    async def work(desk: Desk) -> None:
        assert await desk.ask(token) == 401

    run(work, jwks)


def list_public_forms(provider: Provider) -> list[bytes]:
    public = provider.key.public_key()
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    form = serialization.PublicFormat
    return [
        public.public_bytes(pem, form.SubjectPublicKeyInfo),
        public.public_bytes(pem, form.SubjectPublicKeyInfo).strip(),
        public.public_bytes(pem, form.PKCS1),
        public.public_bytes(der, form.SubjectPublicKeyInfo),
        json.dumps(provider.jwk).encode(),
        provider.jwk["n"].encode(),
    ]


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_as_a_shared_secret_signs_nothing(algorithm: str, jwks: Path, provider: Provider) -> None:
    signing = f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': '1'})}.{encode(claims())}"

    async def work(desk: Desk) -> None:
        for secret in list_public_forms(provider):
            digest = hmac.new(secret, signing.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
            assert await desk.ask(f"{signing}.{encode(digest)}") == 401
        assert desk.count_refused("token-algorithm") == 6

    run(work, jwks)


def test_no_algorithm_with_a_shared_secret_can_be_allowed() -> None:
    assert {name[:2] for name in JWT_ALGORITHMS} == {"RS", "PS", "ES", "Ed"}
    assert FAMILIES.keys() == {*JWT_ALGORITHMS}
    assert "oct" not in FAMILIES.values()


def test_a_key_set_with_a_shared_secret_verifies_nothing_with_it(tmp_path: Path, provider: Provider) -> None:
    secret = {"kty": "oct", "kid": "2", "k": encode(b"x" * 32)}
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [provider.jwk, secret]}))
    signing = f"{encode({'alg': 'HS256', 'kid': '2'})}.{encode(claims())}"
    token = f"{signing}.{encode(hmac.new(b'x' * 32, signing.encode(), hashlib.sha256).digest())}"

    async def work(desk: Desk) -> None:
        assert await desk.ask(token) == 401
        assert desk.source.find("2") is None

    run(work, path)


def test_another_key_with_the_same_identifier_signs_nothing(jwks: Path) -> None:
    forger = Provider()

    async def work(desk: Desk) -> None:
        assert await desk.ask(forger.sign()) == 401
        assert desk.count_refused("token-signature") == 1
        # Keys and places of keys in the token are the forger's.
        headers = {"jwk": forger.jwk, "jku": "https://evil.example/jwks", "x5u": "https://evil.example/cert"}
        assert await desk.ask(forger.sign(headers=headers)) == 401

    run(work, jwks)


def test_a_token_with_a_changed_byte_is_refused(jwks: Path, provider: Provider) -> None:
    token = provider.sign()
    head, body, signature = token.split(".")
    more = encode(claims(scope="churn:admin"))

    async def work(desk: Desk) -> None:
        for changed in (
            f"{head}.{more}.{signature}",
            f"{head}.{body}.{signature[:-6]}AAAAAA",
            f"{head}.{body}.",
            f"{head}.{body}",
        ):
            assert await desk.ask(changed) == 401
        assert await desk.ask(token) == 200

    run(work, jwks)


def test_an_algorithm_of_another_family_than_the_keys_is_refused(tmp_path: Path, provider: Provider) -> None:
    bound = provider.jwk | {"alg": "PS256"}
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [bound]}))

    async def work(desk: Desk) -> None:
        assert await desk.ask(provider.sign()) == 401
        assert desk.count_refused("token-algorithm") == 1
        elliptic = Provider("ES256", "1")
        assert await desk.ask(elliptic.sign()) == 401
        assert desk.count_refused("token-algorithm") == 2

    run(work, path)


def test_an_algorithm_that_the_settings_do_not_allow_is_refused(jwks: Path, provider: Provider) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.ask(provider.sign()) == 401
        assert desk.problem.detail == "the token has another algorithm; allowed: ES256"

    run(work, jwks, RULES._replace(algorithms=["ES256"]))


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    provider = Provider()
    provider.key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    provider.publish(tmp_path / "jwks.json")

    async def work(desk: Desk) -> None:
        with pytest.warns(Warning, match="below the minimum"):
            token = provider.sign()
        assert await desk.ask(token) == 401

    run(work, tmp_path / "jwks.json")


@pytest.mark.parametrize(
    "token", ["a.b.c", "...", "a.b", "a.b.c.d", "x" * 20_000, encode({"alg": "RS256", "kid": 5}) + ".e30.AA"]
)  # fmt: skip
def test_what_is_no_token_is_refused(token: str, jwks: Path) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.ask(token) == 401

    run(work, jwks)
    assert not has_form(b"a." + b"x" * 20_000 + b".c")


def test_a_name_has_no_character_that_needs_escaping(jwks: Path, provider: Provider) -> None:
    async def work(desk: Desk) -> None:
        await desk.ask(provider.sign(sub='x"\n\u2028' + "y" * 100))
        assert re.fullmatch("token:x___y{60}~[0-9a-f]{8}", desk.scope[CALLER].name)
        await desk.ask(provider.sign(sub=None, client_id="batch"))
        assert desk.scope[CALLER].name == "client:batch"
        for nobody in (None, ""):
            await desk.ask(provider.sign(sub=nobody))
            assert desk.scope[CALLER].name == "token:"

    run(work, jwks)


def test_two_subjects_never_have_the_same_name() -> None:
    given = [
        {"sub": "a b"}, {"sub": "a_b"}, {"sub": "a\nb"}, {"sub": "\ud800"}, {"sub": "_"}, {"sub": "x" * 64},
        {"sub": "-"}, {"sub": "x" * 65}, {"sub": "x" * 64 + "y"}, {"client_id": "a_b"}, {"sub": "client:a_b"},
        {"sub": ""},
    ]  # fmt: skip
    assert len({name_token(each) for each in given}) == len(given)


def test_a_token_is_not_taken_for_the_key_of_its_subject_s_name(tmp_path: Path, jwks: Path, provider: Provider) -> None:
    """Neither in logs and records, which have the name, nor in rate limits, metrics and places."""
    keys = tmp_path / "keys.json"
    own = {name: add_key(keys, name, ["predict"]) for name in ("crm", "token")}
    limits = RateLimits(1.0, None)

    async def work() -> None:
        source = KeySource(str(jwks))
        source.read()
        verifier = Verifier(KeyRing(keys), source, RULES, Meters(BucketFile(), limits))
        callers = []
        for sent in (own["crm"], own["token"], provider.sign(sub="crm"), provider.sign(sub=None, client_id="crm")):
            key = await verifier.prepare(sent.encode())
            callers.append(await verifier.verify(sent.encode(), key))
        verifier.close()
        assert [caller.name for caller in callers] == ["crm", "token", "token:crm", "client:crm"]
        assert [caller.label for caller in callers] == ["crm", "token", "token:", "token:"]
        assert len({find_party({CALLER: caller}) for caller in callers}) == 4
        assert [caller.meter is not None and caller.meter.begin() for caller in callers] == [None] * 4
        assert [caller.meter is not None and caller.meter.begin() is not None for caller in callers] == [True] * 4

    asyncio.run(work())
    with pytest.raises(KeysFileError, match="name"):
        add_key(keys, "token:crm")


def test_a_verified_token_is_refused_once_it_has_expired(
    jwks: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk: Desk) -> None:
        token = provider.sign(exp=int(time.time()) + 60)
        assert await desk.ask(token) == 200
        monkeypatch.setattr(gate_module, "time", lambda: time.time() + 85)
        assert await desk.ask(token) == 200  # the leeway
        monkeypatch.setattr(gate_module, "time", lambda: time.time() + 95)
        assert await desk.ask(token) == 401
        assert desk.count_refused("expired") == 1

    run(work, jwks)


def test_tokens_of_a_withdrawn_key_are_refused_and_of_a_new_one_accepted(tmp_path: Path) -> None:
    old, new = Provider(identifier="old"), Provider(identifier="new")
    path = tmp_path / "jwks.json"
    old.publish(path)

    async def work(desk: Desk) -> None:
        first, second = old.sign(), new.sign()
        assert await desk.ask(first) == 200
        old.publish(path, new)
        await desk.gate.look_at_provider()
        assert await desk.ask(first) == 200
        assert await desk.ask(second) == 200
        new.publish(path)
        await desk.gate.look_at_provider()
        assert desk.gate.find_known(desk.scope["headers"]) is not None
        assert await desk.ask(first) == 401  # replayed
        assert await desk.ask(second) == 200

    run(work, path)


def test_a_key_that_is_withdrawn_with_the_arrival_of_another_is_refused(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks_module, "FLOOR_SECONDS", 0.0)
    with serve() as (server, url):
        server.body = write_set(provider)

        async def work(desk: Desk) -> None:
            old, new = provider.sign(), Provider("ES256", "new")
            assert await desk.ask(old) == 200
            generation = desk.gate.generation
            server.body = write_set(new)
            assert await desk.ask(new.sign()) == 200  # its request has fetched the set
            assert desk.gate.generation == generation + 1
            assert await desk.ask(old) == 401  # replayed
            assert await desk.ask(new.sign()) == 200

        run(work, url)


class Server:
    """Serves a key set, and counts how often."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.asked = 0
        self.location = ""


@contextmanager
def serve() -> Iterator[tuple[Server, str]]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield state, f"http://127.0.0.1:{server.server_port}/jwks"
        finally:
            server.shutdown()
            thread.join()


def write_set(*providers: Provider) -> bytes:
    return json.dumps({"keys": [each.jwk for each in providers]}).encode()


def test_unknown_identifiers_ask_the_provider_once(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as (server, url):
        server.body = write_set(provider)

        async def work(desk: Desk) -> None:
            found = await asyncio.gather(*(desk.ask(provider.sign(sub=str(number))) for number in range(10)))
            assert found == [200] * 10
            assert server.asked == 1
            unknown = Provider(identifier="unknown")
            for number in range(30):
                assert await desk.ask(unknown.sign(headers={"kid": f"random {number}"})) == 401
            assert server.asked == 1
            assert desk.count_refused("token-key") == 30
            monkeypatch.setattr(jwks_module, "FLOOR_SECONDS", 0.0)
            assert await desk.ask(unknown.sign()) == 401
            assert server.asked == 2
            server.body = write_set(provider, unknown)
            assert await desk.ask(unknown.sign()) == 200

        run(work, url)


def test_keys_are_rotated_under_load_without_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "FLOOR_SECONDS", 0.0)
    providers = [Provider("ES256", str(number)) for number in range(4)]
    with serve() as (server, url):
        server.body = write_set(providers[0])

        async def work(desk: Desk) -> None:
            done = False
            statuses: list[int] = []

            async def load(client: int) -> None:
                number = 0
                while not done:
                    number += 1
                    current = providers[signing]
                    statuses.append(await desk.ask(current.sign(sub=f"{client}-{number}"), address=f"10.0.0.{client}"))

            signing = 0
            clients = [asyncio.create_task(load(client)) for client in range(4)]
            for step in range(1, 4):
                until = len(statuses) + 40
                while len(statuses) < until:
                    await asyncio.sleep(0.001)
                server.body = write_set(providers[step - 1], providers[step])  # published before it signs
                signing = step
            until = len(statuses) + 40
            while len(statuses) < until:
                await asyncio.sleep(0.001)
            done = True
            await asyncio.gather(*clients)
            assert set(statuses) == {200}
            assert len(statuses) >= 160

        run(work, url)


def test_the_last_keys_are_kept_while_the_provider_fails(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve() as (server, url):
        server.status = 503

        async def work(desk: Desk) -> None:
            await desk.gate.look_at_provider()
            assert await desk.ask(provider.sign()) == 503
            assert desk.problem.headers["Retry-After"] == "10"
            server.status, server.body = 200, write_set(provider)
            monkeypatch.setattr(jwks_module, "FLOOR_SECONDS", 0.0)
            await desk.gate.look_at_provider()
            assert await desk.ask(provider.sign()) == 200
            monkeypatch.setattr(jwks_module, "REFRESH_SECONDS", 0.0)
            for body in (b"", b"[]", b'{"keys": []}', b"x" * (jwks_module.MAX_BYTES + 1)):
                server.body = body
                await desk.gate.look_at_provider()
                assert await desk.ask(provider.sign(sub=str(len(body)))) == 200

        run(work, url)
    assert caplog.text.count("identity provider's keys were not read again") == 5


@contextmanager
def serve_raw(respond: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve what is no proper HTTP; yield the address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            with suppress(OSError):
                respond(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/jwks"
        finally:
            server.shutdown()
            thread.join()


def test_a_provider_that_does_not_speak_http_is_one_that_fails() -> None:
    with serve_raw(lambda client: client.sendall(b"220 mail.bank.example\r\n")) as url:
        source = KeySource(url)
        with pytest.raises(JwksError, match="220 mail"):
            source.read()
        assert source.fault  # it is asked again soon


DRIPS = {
    "in the status line": (b"HTTP/1.1 ", b"2"),
    "in a field": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"a"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "in the body": (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
    "in small chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "in trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "not at all": (b"", b""),
}


@pytest.mark.parametrize("place", DRIPS)
def test_keys_that_arrive_byte_by_byte_are_given_up(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "FETCH_SECONDS", 0.5)
    given_up = threading.Event()
    begin, drop = DRIPS[place]

    def drip(client: socket.socket) -> None:
        client.sendall(begin)
        while not given_up.wait(0.05):
            client.sendall(drop)

    with serve_raw(drip) as url:
        try:
            with pytest.raises(JwksError, match=r"did not arrive within 0\.5 s"):
                KeySource(url).read()
        finally:
            given_up.set()


@pytest.mark.parametrize("place", ["interim answers", "in the body", "in small chunks", "in trailers"])
def test_keys_without_end_are_given_up(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_module, "FETCH_SECONDS", DEADLINE)
    begin, piece = DRIPS[place]

    def pour(client: socket.socket) -> None:
        client.sendall(begin)
        while True:
            client.sendall(piece * 10_000)

    with (
        serve_raw(pour) as url,
        pytest.raises(JwksError, match=f"the answer has more than {jwks_module.MAX_BYTES} bytes"),
    ):
        KeySource(url).read()


def test_a_file_of_keys_that_is_none_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(JwksError, match="is not a regular file"):
            KeySource(str(path)).read()


def test_a_redirect_is_not_followed(provider: Provider) -> None:
    with serve() as (target, elsewhere), serve() as (server, url):
        target.body = write_set(provider)
        server.status, server.location = 302, elsewhere
        with pytest.raises(JwksError, match="302"):
            KeySource(url).read()
        assert target.asked == 0


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "is not a key set"),
        ({"keys": {}}, "is not a key set"),
        ({"keys": [{"kty": "RSA", "kid": "1"}, {"kty": "RSA", "kid": "1"}]}, "two keys with the identifier '1'"),
        ({"keys": [{"kty": "oct", "k": "AA"}]}, "has no key of the types EC, OKP, RSA"),
        ({"keys": [{"kty": "RSA", "use": "enc"}]}, "has no key"),
        ({"keys": [{"kty": "RSA", "kid": 1}, "x"]}, "has no key"),
        ({"keys": [{"kty": "RSA"}] * 101}, "at most 100 keys"),
    ],
)
def test_a_key_set_that_can_not_be_used_is_refused(content: Any, fault: str) -> None:
    with pytest.raises(JwksError, match=fault):
        parse_keys(json.dumps(content).encode())


def test_a_token_without_an_identifier_means_the_only_key(tmp_path: Path, provider: Provider) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [{name: value for name, value in provider.jwk.items() if name != "kid"}]}))
    other = Provider("ES256", "2")

    async def work(desk: Desk) -> None:
        import jwt

        token = jwt.encode(claims(), provider.key, "RS256")
        assert await desk.ask(token) == 200
        provider.publish(path, other)
        await desk.gate.look_at_provider()
        assert await desk.ask(jwt.encode(claims(sub="2"), provider.key, "RS256")) == 401

    run(work, path)


def test_without_api_keys_one_is_refused(jwks: Path) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.ask("churn_abcdefgh_" + "x" * 43) == 401
        assert "API keys are not in use" in desk.problem.detail

    run(work, jwks)


def test_a_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(JwksError, match=r"none\.json: No such file or directory"):
        KeySource(str(tmp_path / "none.json")).read()
