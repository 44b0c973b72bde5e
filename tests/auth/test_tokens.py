"""Tokens that must not pass, and the keys that they are checked with."""

from __future__ import annotations

import base64
import json
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.contract import Identity
from interlock.errors import Misconfigured, Unauthenticated
from interlock.tokens import TokenIssuer, TokenVerifier

pytestmark = pytest.mark.clock

ANNA = Identity("01900000-0000-7000-8000-0000000000a1", "01900000-0000-7000-8000-0000000000aa", "agent", "a@b.test")


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


CLOCK = Clock()
KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = TokenIssuer(KEY, now=CLOCK)


def claims(**changed: Any) -> dict[str, Any]:
    held = jwt.decode(ISSUER.mint(ANNA, 60), options={"verify_signature": False})
    return {name: value for name, value in {**held, **changed}.items() if value is not None}


def signed(payload: dict[str, Any], key: Any = KEY, algorithm: str = "ES256", kid: str | None = None) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid or ISSUER.key_id})


def unsigned() -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT', 'kid': ISSUER.key_id})}.{part(claims())}."


def public_key_as_secret() -> str:
    """The old trick: HS256 with the public key as its secret. PyJWT refuses to make one, so it is made by hand."""
    import hashlib
    import hmac

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = part(json.dumps({"alg": "HS256", "typ": "JWT", "kid": ISSUER.key_id}).encode())
    body = part(json.dumps(claims()).encode())
    return f"{head}.{body}.{part(hmac.digest(pem, f'{head}.{body}'.encode(), hashlib.sha256))}"


def tampered() -> str:
    head, body, signature = ISSUER.mint(ANNA, 60).split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    payload["app_metadata"]["tenant_id"] = "01900000-0000-7000-8000-0000000000bb"
    return ".".join((head, base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode(), signature))


BAD: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "not a token": lambda: "not.a.token",
    "not ascii": lambda: "é.é.é",
    "too long": lambda: "a" * 10_000,
    "unsigned": unsigned,
    "another key": lambda: signed(claims(), ec.generate_private_key(ec.SECP256R1())),
    "an unknown key id": lambda: signed(claims(), kid="other"),
    "the public key as a secret": public_key_as_secret,
    "tampered tenant": tampered,
    "another issuer": lambda: signed(claims(iss="someone")),
    "another audience": lambda: signed(claims(aud="someone")),
    "no expiry": lambda: signed(claims(exp=None)),
    "expired": lambda: signed(claims(exp=int(CLOCK.now) - 1)),
    "not yet": lambda: signed(claims(nbf=int(CLOCK.now) + 60)),
    "no subject": lambda: signed(claims(sub=None)),
    "no tenant": lambda: signed(claims(app_metadata={"role": "agent"})),
    "tenant in user_metadata": lambda: signed(claims(app_metadata=None, user_metadata={"tenant_id": "x"})),
    "unknown role": lambda: signed(claims(app_metadata={"tenant_id": "x", "role": "root"})),
    "metadata that is no object": lambda: signed(claims(app_metadata="admin")),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused_and_never_shown(kind: str) -> None:
    token = BAD[kind]()
    with pytest.raises(Unauthenticated) as caught:
        TokenVerifier.for_issuer(ISSUER, now=CLOCK).verify(token)
    assert not token or token not in str(caught.value)


def test_a_good_token_says_who() -> None:
    assert TokenVerifier.for_issuer(ISSUER, now=CLOCK).verify(ISSUER.mint(ANNA, 60)) == ANNA


def test_a_remembered_token_expires_all_the_same() -> None:
    clock = Clock()
    issuer = TokenIssuer(KEY, now=clock)
    verifier = TokenVerifier.for_issuer(issuer, now=clock)
    token = issuer.mint(ANNA, 60)
    assert verifier.verify(token) == verifier.verify(token) == ANNA
    clock.now += 61
    with pytest.raises(Unauthenticated, match="expired"):
        verifier.verify(token)


def test_another_issuer_can_be_trusted_by_its_key_set() -> None:
    other = TokenIssuer.new(now=CLOCK)
    verifier = TokenVerifier.for_issuer(ISSUER, now=CLOCK)
    with pytest.raises(Unauthenticated):
        verifier.verify(other.mint(ANNA, 60))
    verifier.trust(other.jwks())
    assert verifier.verify(other.mint(ANNA, 60)) == ANNA
    with pytest.raises(Misconfigured):
        verifier.trust({"keys": [{"kty": "EC"}]})


def test_the_key_is_made_once_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    first, second = (TokenIssuer.from_directory(tmp_path / "keys") for _ in range(2))
    assert first.key_id == second.key_id
    assert stat.S_IMODE((tmp_path / "keys" / "signing.pem").stat().st_mode) == 0o600
    assert "PRIVATE" not in repr(first) + json.dumps(first.jwks())
    assert "d" not in first.public_jwk


def test_a_broken_key_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "signing.pem").write_text("nonsense")
    with pytest.raises(Misconfigured, match=r"signing\.pem"):
        TokenIssuer.from_directory(tmp_path)
