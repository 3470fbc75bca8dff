"""A service that trusts keys serves, compares and switches to signed versions only."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER, publish
from running import start
from starlette.testclient import TestClient
from waiting import wait_until

from churn.bundle import sign_bundle
from churn.errors import BundleError
from churn.trust.keys import SigningKey, read_signing_key, write_key_pair
from churn.trust.signatures import SIGNATURE, Trust
from service.app import create_app
from service.rollout.staging import open_staging
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder of the trusted keys."""
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder


def trust(keys: Path, name: str) -> SigningKey:
    """Make a key and trust it."""
    write_key_pair(keys.parent / name)
    shutil.copy(keys.parent / f"{name}.pub", keys)
    return read_signing_key(keys.parent / name)


@pytest.fixture
def key(keys: Path) -> SigningKey:
    return trust(keys, "first")


@pytest.fixture
def client(models: Path, keys: Path, key: SigningKey) -> Iterator[TestClient]:
    sign_bundle(models / "1", key)
    with start(models, admin=True, trusted_keys=keys) as client:
        yield client


def describe(client: TestClient) -> dict[str, Any]:
    description: dict[str, Any] = client.get("/model").json()
    return description


def test_the_service_says_who_signed_and_that_it_was_required(client: TestClient, key: SigningKey) -> None:
    assert describe(client)["signature"] == {"required": True, "signed_by": [key.identifier]}
    assert client.post("/predict", json=CUSTOMER).status_code == 200


def test_without_trusted_keys_it_says_that_none_was_required(models: Path, key: SigningKey) -> None:
    sign_bundle(models / "1", key)
    with start(models) as client:
        assert describe(client)["signature"] == {"required": False, "signed_by": []}


def test_an_unsigned_version_is_not_served_and_the_reason_is_told(
    models: Path, keys: Path, key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with TestClient(create_app(Settings(models=models, engine="onnx", trusted_keys=keys))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert client.get("/health/ready").status_code == 503
        assert f"1/{SIGNATURE}: is missing" in client.get("/health/ready").text
        assert f"serving only model versions signed with one of these keys: {key.identifier}" in caplog.text
        sign_bundle(models / "1", key)
        publish(models)
        sign_bundle(models / "2", key)
        wait_until(lambda: client.get("/health/ready").status_code == 200)


def test_without_a_readable_key_nothing_is_served(models: Path, keys: Path) -> None:
    with TestClient(create_app(Settings(models=models, engine="onnx", trusted_keys=keys))) as client:
        wait_until(lambda: "being loaded" not in client.get("/health/ready").text)
        assert f"{keys}: has no files; put at least one public key there" in client.get("/health/ready").text


@pytest.mark.parametrize("signer", [None, "another"])
def test_no_way_leads_to_a_version_that_no_trusted_key_has_signed(
    client: TestClient, models: Path, tmp_path: Path, signer: str | None
) -> None:
    publish(models)
    if signer is not None:
        write_key_pair(tmp_path / signer)
        sign_bundle(models / "2", read_signing_key(tmp_path / signer))
    wait_until(lambda: "last_change" in describe(client))
    assert f"models/2/{SIGNATURE}: is " in describe(client)["last_change"]["reason"]
    for answer in (
        client.post("/admin/models/2/promote"),
        client.put("/admin/shadow", json={"version": "2"}),
        client.put("/admin/canary", json={"version": "2", "share": 0.5}),
    ):
        assert answer.status_code == 409, answer.text
        assert f"models/2/{SIGNATURE}: is " in answer.json()["detail"]
    assert describe(client)["version"] == "1"
    assert {"shadow", "canary"} & set(describe(client)) == set()


def test_a_key_that_is_added_is_trusted_at_once_and_one_that_is_removed_no_longer(
    client: TestClient, models: Path, keys: Path
) -> None:
    second = trust(keys, "second")
    publish(models)
    sign_bundle(models / "2", second)
    assert client.post("/admin/models/2/promote").status_code == 200
    assert describe(client)["signature"]["signed_by"] == [second.identifier]
    (keys / "first.pub").unlink()
    answer = client.post("/admin/models/1/promote")
    assert (answer.status_code, describe(client)["version"]) == (409, "2")
    sign_bundle(models / "1", second)
    assert client.post("/admin/models/1/promote").status_code == 200
    assert describe(client)["signature"]["signed_by"] == [second.identifier]


def test_the_private_copy_has_the_signature_also_when_it_is_used_again(
    models: Path, keys: Path, key: SigningKey
) -> None:
    with open_staging(models) as staging:
        with pytest.raises(BundleError, match=rf"models/1/{SIGNATURE}: is missing"):
            staging.stage(1, Trust(keys))
        sign_bundle(models / "1", key)
        staged = staging.stage(1, Trust(keys))
        copy = Path(staged.folder) / SIGNATURE
        assert copy.read_bytes() == (models / "1" / SIGNATURE).read_bytes()
        sign_bundle(models / "1", trust(keys, "second"))
        assert staging.stage(1, Trust(keys)) == staged
        assert len(copy.read_bytes().splitlines()) == 2
    with open_staging(models) as staging:
        assert not (Path(staging.stage(1, Trust()).folder) / SIGNATURE).exists()
