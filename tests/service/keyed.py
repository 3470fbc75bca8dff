"""API keys and tokens for tests."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from service.guard.key_hash import hash_secret, make_key
from service.guard.keys_file import SCOPES, ApiKey, change_keys, now

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

ISSUER, AUDIENCE = "https://idp.bank.example", "churn"


def add_key(path: Path, name: str, scopes: Iterable[Any] = SCOPES, *, lifetime: float = 3600, **limits: float) -> str:
    """Add a key to a file; return the key as its caller knows it."""
    parts, whole = make_key()
    with change_keys(path) as keys:
        created = now()
        expires = created + timedelta(seconds=lifetime)
        hashed = hash_secret(parts.secret)
        keys.append(ApiKey(name, parts.id, hashed, tuple(scopes), created, expires, **limits))
    return whole


def remove_key(path: Path, name: str) -> None:
    with change_keys(path) as keys:
        keys[:] = [key for key in keys if key.name != name]


class Provider:
    """An identity provider with one signing key; `rotate` replaces it."""

    def __init__(self, algorithm: str = "RS256", identifier: str = "1") -> None:
        self.algorithm = algorithm
        self.rotate(identifier)

    def rotate(self, identifier: str) -> None:
        self.identifier = identifier
        if self.algorithm == "EdDSA":
            self.key: Any = ed25519.Ed25519PrivateKey.generate()
        elif self.algorithm == "ES256":
            self.key = ec.generate_private_key(ec.SECP256R1())
        else:
            self.key = rsa.generate_private_key(65537, 2048)

    @property
    def jwk(self) -> dict[str, Any]:
        found: dict[str, Any] = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        return found | {"kid": self.identifier, "use": "sig"}

    def publish(self, path: Path, *others: Provider) -> None:
        """Write the key set, in place of the previous one."""
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps({"keys": [each.jwk for each in (self, *others)]}))
        aside.replace(path)

    def sign(self, scope: str = "churn:predict", *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        """Return a token; a claim that is None is left out."""
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "teller", "scope": scope, "exp": time.time() + 3600} | changes
        given = {name: value for name, value in claims.items() if value is not None}
        payload = json.dumps(given).encode()  # `jwt.encode` refuses some of what a forger would send
        return jwt.PyJWS().encode(payload, self.key, self.algorithm, {"kid": self.identifier} | (headers or {}))
