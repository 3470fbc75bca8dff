"""The decision: who is known, who is checked, and what is remembered of both."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from keyed import add_key, remove_key

from service.errors import Problem
from service.guard import attempts as attempts_module
from service.guard import gate as gate_module
from service.guard.attempts import Attempts, name_network
from service.guard.buckets import BucketFile, RateLimits
from service.guard.caller import CALLER, NOBODY
from service.guard.gate import Gate
from service.guard.key_ring import KeyRing
from service.guard.verifier import Meters, Verifier
from service.observe.audit import AuditLog
from service.observe.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


class Counted(KeyRing):
    """Counts the slow hashes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hashed = 0

    def verify(self, sent: bytes) -> Any:
        self.hashed += 1
        return super().verify(sent)


class Desk:
    """A gate, and requests to it."""

    def __init__(self, path: Path, limits: RateLimits = RateLimits(None, None)) -> None:  # noqa: B008
        self.ring = Counted(path)
        self.audit = AuditLog()
        verifier = Verifier(self.ring, None, None, Meters(BucketFile(clock=lambda: 1.0), limits))  # nothing is refilled
        self.metrics = Metrics()
        self.gate = Gate(verifier, self.metrics.guard, self.audit)
        self.gate._attempts = Attempts(lambda: 1.0)

    async def ask(self, key: str | None, path: str = "/predict", address: str = "10.0.0.1", headers: Any = None) -> int:
        """Return the status of a request; 200 if it may be handled."""
        sent = [(b"x-api-key", key.encode())] if key is not None else []
        self.scope: dict[str, Any] = {"path": path, "headers": headers or sent, "client": (address, 1)}
        try:
            await self.gate.admit(self.scope)
        except Problem as problem:
            self.problem = problem
            return problem.status
        return 200

    def count(self, name: str, **labels: str) -> float:
        found = self.metrics._registry.get_sample_value(name, labels)
        return found or 0.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "keys.json"
    add_key(found, "first")
    return found


def run(work: Callable[[Desk], Coroutine[Any, Any, None]], path: Path, **options: Any) -> None:
    async def run_in_loop() -> None:
        desk = Desk(path, **options)
        try:
            await work(desk)
        finally:
            desk.gate.close()
            desk.audit.close()

    asyncio.run(run_in_loop())


def test_one_slow_hash_is_computed_for_a_key_however_many_requests_bring_it(path: Path) -> None:
    key = add_key(path, "crm", ["predict"])

    async def work(desk: Desk) -> None:
        assert set(await asyncio.gather(*(desk.ask(key) for _ in range(50)))) == {200}
        assert await desk.ask(key) == 200
        assert desk.ring.hashed == 1
        assert desk.scope[CALLER].name == "crm"

    run(work, path)


def test_both_headers_carry_a_key_and_it_is_the_same_key(path: Path) -> None:
    key = add_key(path, "crm").encode()

    async def work(desk: Desk) -> None:
        for headers in (
            [(b"x-api-key", key)],
            [(b"authorization", b"Bearer " + key)],
            [(b"authorization", b"Bearer " + key + b" \t")],
            [(b"x-api-key", key + b"  ")],
            [(b"authorization", b"bearer  " + key)],
        ):
            assert await desk.ask(None, headers=headers) == 200
        assert desk.ring.hashed == 1

    run(work, path)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"KEY")],
        [(b"authorization", b"Basic KEY")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer KEY KEY")],
        [(b"authorization", b"")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"Bearer KEY")],
        [(b"x-api-key", b"KEY"), (b"x-api-key", b"KEY")],
        [(b"x-api-key", b"KEY"), (b"authorization", b"Bearer KEY")],
        [(b"authorization", b"Bearer KEY"), (b"authorization", b"Bearer other")],
        [(b"x-api-key", "KEY\u00a0".encode("latin-1"))],
    ],
)
def test_a_credential_in_another_form_is_refused_without_a_hash(headers: Any, path: Path) -> None:
    key = add_key(path, "crm").encode()
    sent = [(name, value.replace(b"KEY", key)) for name, value in headers]

    async def work(desk: Desk) -> None:
        assert await desk.ask(key.decode()) == 200  # it is known, and yet:
        assert await desk.ask(None, headers=sent) == 401
        assert desk.gate.find_known(sent) is None
        assert desk.ring.hashed == 1
        assert desk.problem.headers["WWW-Authenticate"] == 'Bearer realm="churn", error="invalid_token"'

    run(work, path)


def test_without_a_credential_the_answer_says_how_to_send_one(path: Path) -> None:
    async def work(desk: Desk) -> None:
        assert await desk.ask(None) == 401
        assert desk.problem.kind == "authentication-required"
        assert desk.problem.headers["WWW-Authenticate"] == 'Bearer realm="churn"'
        assert desk.gate.find_known([]) is NOBODY
        assert desk.count("churn_refused_credentials_total", reason="missing") == 1

    run(work, path)


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("predict", {"/predict", "/model", "/model/shadow", "/v2", "/v2/models/churn/infer", "/nowhere", "/"}),
        ("metrics", {"/metrics", "/nowhere", "/"}),
        ("admin", {"/admin/models", "/admin/models/1/promote", "/nowhere", "/"}),
        ("records", {"/records", "/records/1", "/nowhere", "/"}),
    ],
)
def test_a_scope_allows_its_paths_and_no_others(scope: str, allowed: set[str], path: Path) -> None:
    key = add_key(path, "one", [scope])
    paths = {
        "/predict", "/model", "/model/shadow", "/v2", "/v2/models/churn/infer", "/metrics", "/admin/models",
        "/admin/models/1/promote", "/records", "/records/1", "/nowhere", "/",
    }  # fmt: skip

    async def work(desk: Desk) -> None:
        found = {each for each in sorted(paths) if await desk.ask(key, each) == 200}
        assert found == allowed
        assert await desk.ask(key, sorted(paths - allowed)[0]) == 403
        assert 'error="insufficient_scope"' in desk.problem.headers["WWW-Authenticate"]
        assert "one lacks the scope" in desk.problem.detail

    run(work, path)


def test_a_prefix_of_a_proxy_does_not_change_what_a_path_needs(path: Path) -> None:
    key = add_key(path, "crm", ["predict"])

    async def work(desk: Desk) -> None:
        assert await desk.ask(key) == 200
        scope = {"path": "/api/admin/models", "root_path": "/api", "headers": [(b"x-api-key", key.encode())]}
        with pytest.raises(Problem) as refused:
            await desk.gate.admit(scope)
        assert refused.value.status == 403

    run(work, path)


def test_a_key_is_refused_once_it_has_expired(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_key(path, "crm", lifetime=60)

    async def work(desk: Desk) -> None:
        assert await desk.ask(key) == 200
        monkeypatch.setattr(gate_module, "time", lambda: time.time() + 61)
        assert await desk.ask(key) == 401
        assert desk.problem.detail == "the API key or token has expired"

    run(work, path)


def test_a_revoked_key_is_refused_and_the_others_stay_known(path: Path) -> None:
    crm, ops = add_key(path, "crm"), add_key(path, "ops", ["metrics"])

    async def work(desk: Desk) -> None:
        assert await desk.ask(crm) == 200
        assert await desk.ask(ops, "/metrics") == 200
        before = desk.gate.generation
        remove_key(path, "crm")
        await desk.gate.look_at_keys()
        assert desk.gate.generation == before + 1
        assert desk.gate.find_known([(b"x-api-key", crm.encode())]) is None
        hashed = desk.ring.hashed
        assert await desk.ask(ops, "/metrics") == 200
        assert desk.ring.hashed == hashed
        assert await desk.ask(crm) == 401
        assert desk.count("churn_key_reloads_total", outcome="ok") == 1

    run(work, path)


def test_a_key_that_is_revoked_while_it_is_checked_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_key(path, "crm")

    async def work(desk: Desk) -> None:
        verify = desk.ring.verify

        def revoke_meanwhile(sent: bytes) -> Any:
            found = verify(sent)
            remove_key(path, "crm")
            desk.ring.reload()
            return found

        monkeypatch.setattr(desk.ring, "verify", revoke_meanwhile)
        assert await desk.ask(key) == 401
        assert desk.gate.find_known([(b"x-api-key", key.encode())]) is None

    run(work, path)


def test_a_key_whose_scopes_change_may_do_what_the_file_says(path: Path) -> None:
    key = add_key(path, "crm", ["predict"])

    async def work(desk: Desk) -> None:
        assert await desk.ask(key) == 200
        path.write_text(
            path.read_text().replace('"predict"\n      ],\n      "created"', '"metrics"\n      ],\n      "created"', 2)
        )
        await desk.gate.look_at_keys()
        assert await desk.ask(key) == 403

    run(work, path)


def test_a_damaged_file_keeps_the_keys_in_force_and_is_reported(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    key = add_key(path, "crm")

    async def work(desk: Desk) -> None:
        path.write_text("{")
        await desk.gate.look_at_keys()
        await desk.gate.look_at_keys()
        assert await desk.ask(key) == 200
        assert desk.count("churn_key_reloads_total", outcome="failed") == 1

    run(work, path)
    assert caplog.text.count("were not read again, those read before remain in force") == 1


def test_a_refused_key_is_remembered_until_the_keys_change(path: Path) -> None:
    key = add_key(path, "crm")
    remove_key(path, "crm")

    async def work(desk: Desk) -> None:
        for _ in range(100):  # a client that was not told
            assert await desk.ask(key) == 401
        assert desk.ring.hashed == 1

    run(work, path)


def test_guessing_is_stopped_by_address_and_in_all_and_known_keys_go_on(path: Path) -> None:
    key = add_key(path, "crm")
    other = add_key(path, "ops")

    async def work(desk: Desk) -> None:
        assert await desk.ask(key, address="10.0.0.1") == 200
        found = [await desk.ask(f"{key[:-4]}{number:04}", address="10.0.0.1") for number in range(30)]
        assert found == [401] * 10 + [429] * 20
        assert int(desk.problem.headers["Retry-After"]) >= 1
        assert desk.ring.hashed == 11
        assert await desk.ask(key, address="10.0.0.1") == 200
        assert await desk.ask(other, address="10.0.0.1") == 429  # not known yet
        assert await desk.ask(other, address="10.0.0.2") == 200
        found = [await desk.ask(f"{key[:-4]}x{number:03}", address=f"10.1.{number}.1") for number in range(60)]
        assert found == [401] * 40 + [429] * 20
        assert await desk.ask(key, address="10.1.1.1") == 200

    run(work, path)


def test_many_guesses_at_once_are_no_way_around_the_bound(path: Path) -> None:
    key = add_key(path, "crm")

    async def work(desk: Desk) -> None:
        found = await asyncio.gather(*(desk.ask(f"{key[:-4]}{number:04}") for number in range(200)))
        assert set(found) == {401, 429}
        assert desk.ring.hashed == 10

    run(work, path)


def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_REFUSED", 5)
    monkeypatch.setattr(attempts_module, "MAX_ADDRESSES", 5)
    monkeypatch.setattr(attempts_module, "TOTAL_BURST", 1000.0)

    async def work(desk: Desk) -> None:
        for number in range(20):
            assert await desk.ask(f"guess{number}", address=f"10.0.0.{number}") == 401
        assert len(desk.gate._refused) == 5
        assert len(desk.gate._attempts._addresses) == 5
        assert len(desk.gate._verified) == 0
        assert desk.gate._checking == {}

    run(work, path)


def test_no_more_checks_wait_than_may(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "MAX_CHECKING", 3)

    async def work(desk: Desk) -> None:
        found = await asyncio.gather(*(desk.ask(f"guess{number}") for number in range(10)))
        assert found == [401] * 3 + [429] * 7

    run(work, path)


def test_a_client_that_leaves_does_not_end_the_check_for_others(path: Path) -> None:
    key = add_key(path, "crm")

    async def work(desk: Desk) -> None:
        first, second = (asyncio.create_task(desk.ask(key)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 200
        with pytest.raises(asyncio.CancelledError):
            await first

    run(work, path)


def test_a_rate_limit_is_counted_by_name_and_refused_with_its_fields(path: Path) -> None:
    key = add_key(path, "crm", requests_per_second=2)
    free = add_key(path, "ops")

    async def work(desk: Desk) -> None:
        assert [await desk.ask(key) for _ in range(3)] == [200, 200, 429]
        assert desk.problem.headers["RateLimit-Policy"].startswith('"requests";q=2;w=1')
        assert desk.count("churn_rate_limited_requests_total", caller="crm", quota="requests") == 1
        assert [await desk.ask(free) for _ in range(5)] == [200] * 5
        assert [await desk.ask(key, "/health/live") for _ in range(5)] == [200] * 5

    run(work, path)


def test_the_settings_limit_keys_that_have_no_limit_of_their_own(path: Path) -> None:
    own, default = add_key(path, "own", requests_per_second=3), add_key(path, "default")

    async def work(desk: Desk) -> None:
        assert [await desk.ask(own) for _ in range(4)] == [200, 200, 200, 429]
        assert [await desk.ask(default) for _ in range(2)] == [200, 429]

    run(work, path, limits=RateLimits(1, None))


def test_watching_goes_on_after_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "WATCH_SECONDS", 0.0)
    looks: list[int] = []

    async def work(desk: Desk) -> None:
        async def fail() -> None:
            looks.append(1)
            raise RuntimeError

        monkeypatch.setattr(desk.gate, "look_at_keys", fail)
        task = asyncio.create_task(desk.gate.watch())
        while len(looks) < 3:
            await asyncio.sleep(0)
        task.cancel()

    run(work, path)


def test_a_key_is_revoked_while_the_identity_provider_does_not_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "WATCH_SECONDS", 0.0)
    key = add_key(path, "crm", ["predict"])

    async def work(desk: Desk) -> None:
        assert await desk.ask(key) == 200
        is_asked = asyncio.Event()

        async def wait() -> None:
            is_asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(desk.gate, "look_at_provider", wait)
        task = asyncio.create_task(desk.gate.watch())
        await is_asked.wait()
        remove_key(path, "crm")
        while await desk.ask(key) == 200:
            await asyncio.sleep(0)
        task.cancel()

    run(work, path)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("2001:db8:1:2::1", "20010db800010002"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_one_subscriber_has_one_network(address: str, network: str) -> None:
    assert name_network(address) == network


def test_attempts_come_back_with_time() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(10):
        assert attempts.find_wait("a") == 0
        attempts.note_refused("a")
    assert attempts.find_wait("a") == pytest.approx(2)
    assert attempts.find_wait("b") == 0
    now[0] = 2.1
    assert attempts.find_wait("a") == 0
