"""Verify the tokens of the bank's identity provider (JWT, RFC 7519; best practices: RFC 8725)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from service.guard.caller import RefusedCredentialError, unauthorized
from service.guard.jwks import FAMILIES
from service.guard.keys_file import SCOPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.guard.jwks import Jwk

MAX_TOKEN_BYTES = 16 * 1024
MAX_NAME_CHARACTERS = 64

NAMING_CLAIMS = {"sub": "token", "client_id": "client", "azp": "client"}
"""Claims that name the caller, with what precedes the name: no API key has a colon in its name, and a program that
chooses its ``client_id`` must not pass for the person whose ``sub`` that is (RFC 9068, section 5)."""

UNNAMED = "token:"
"""Name of all callers with tokens that name nobody."""

_is_token = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*").fullmatch
_unsafe = re.compile(r"[^A-Za-z0-9._@:/+-]")


class TokenRules(NamedTuple):
    """What a token must have.

    Attributes
    ----------
    issuer, audience : str
    algorithms : sequence of str
        Of `FAMILIES`.
    leeway : float
        Seconds by which the clocks may differ.
    scope_prefix : str
        What precedes our scopes in the token's.
    """

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway: float
    scope_prefix: str


class Bearer(NamedTuple):
    """What a verified token says."""

    name: str
    scopes: frozenset[str]
    expires: float


def has_form(sent: bytes) -> bool:
    """Return whether a credential has the form of a token."""
    return len(sent) <= MAX_TOKEN_BYTES and _is_token(sent) is not None


def refuse(reason: str, detail: str) -> RefusedCredentialError:
    """Return the error for a token; `reason` is the label of the metric."""
    return RefusedCredentialError(f"token-{reason}", unauthorized(f"the token {detail}"))


def read_key_identifier(sent: bytes, rules: TokenRules) -> str | None:
    """Return the identifier of the key that a token says it is signed with.

    Raises
    ------
    RefusedCredentialError
        If the token can't be read, or its algorithm is not allowed.
    """
    import jwt

    try:
        header = jwt.get_unverified_header(sent)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise refuse("malformed", "can't be read") from None
    if header.get("alg") not in rules.algorithms:
        raise refuse("algorithm", f"has another algorithm; allowed: {', '.join(rules.algorithms)}")
    identifier: str | None = header.get("kid")
    return identifier


def verify_token(sent: bytes, key: Jwk, rules: TokenRules) -> Bearer:
    """Verify a token with a key of the provider, and return what it says.

    Raises
    ------
    RefusedCredentialError
        If it is not valid; says why, which only the signature's holder can find out for any other reason than that.
    """
    import jwt

    algorithm = jwt.get_unverified_header(sent)["alg"]
    if FAMILIES.get(algorithm) != key.get("kty") or key.get("alg", algorithm) != algorithm:
        raise refuse("algorithm", "has an algorithm that its key is not for")
    try:
        claims: dict[str, Any] = jwt.decode(
            sent,
            jwt.PyJWK(key, algorithm),
            algorithms=[algorithm],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.leeway,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )
        expires = float(claims["exp"]) + rules.leeway
    except jwt.ExpiredSignatureError:
        raise refuse("expired", "has expired") from None
    except jwt.ImmatureSignatureError:
        raise refuse("early", "is not valid yet (nbf, iat)") from None
    except jwt.InvalidIssuerError:
        raise refuse("issuer", "has another issuer") from None
    except jwt.InvalidAudienceError:
        raise refuse("audience", "is for another audience") from None
    except jwt.MissingRequiredClaimError as error:
        raise refuse("claims", f"lacks the claim {error.claim!r}") from None
    except jwt.InvalidSignatureError:
        raise refuse("signature", "has a signature that its key did not make") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
        raise refuse("malformed", "can't be verified") from None
    return Bearer(name_token(claims), _find_scopes(claims, rules), expires)


def name_token(claims: Mapping[str, Any]) -> str:
    """Return the caller's name, which has only characters that need no escaping, and is never that of an API key.

    A name that was shortened or has had other characters ends in ``~`` and a part of its hash, so that two subjects
    never have the same name, and thereby the same limits.
    """
    for claim, kind in NAMING_CLAIMS.items():
        if isinstance(said := claims.get(claim), str) and said:
            name = _unsafe.sub("_", said[:MAX_NAME_CHARACTERS])
            mark = "" if name == said else f"~{sha256(said.encode(errors='surrogatepass')).hexdigest()[:8]}"
            return f"{kind}:{name}{mark}"
    return UNNAMED


def _find_scopes(claims: dict[str, Any], rules: TokenRules) -> frozenset[str]:
    """Return our scopes among those of a token: `scope` is one string (RFC 8693), `scp` a string or a list."""
    words: set[str] = set()
    for claim in (claims.get("scope"), claims.get("scp")):
        if isinstance(claim, str):
            words |= {*claim.split()}
        elif isinstance(claim, list):
            words |= {word for word in claim if isinstance(word, str)}
    return frozenset(scope for scope in SCOPES if rules.scope_prefix + scope in words)
