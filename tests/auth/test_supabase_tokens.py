"""Tokens between Interlock and a Supabase project: which of the project's are taken, which must not be, and which are made for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from interlock.contract import Identity
from interlock.errors import Misconfigured, Unauthenticated
from interlock.tokens import SupabaseIssuer, TokenIssuer, TokenVerifier

SECRET = "a project's secret of more than 32 characters"
OTHER = "another project's secret, as long as that one"
TENANT = "01900000-0000-7000-8000-0000000000aa"
USER = "01900000-0000-7000-8000-0000000000a1"
ANNA = Identity(USER, TENANT, "agent", "a@b.test")
ISSUER = TokenIssuer.new()
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    maker = jwt.algorithms.ECAlgorithm if algorithm == "ES256" else jwt.algorithms.RSAAlgorithm
    made: dict[str, Any] = json.loads(maker.to_jwk(key.public_key()))
    return {**made, "kid": kid, "alg": algorithm, "use": "sig"}


JWKS = {"keys": [jwk(EC_KEY, "ec", "ES256"), jwk(RSA_KEY, "rsa", "RS256")]}


def verifier() -> TokenVerifier:
    made = TokenVerifier.for_issuer(ISSUER)
    made.trust_supabase(secret=SECRET, jwks=JWKS)
    return made


def claims(**changed: Any) -> dict[str, Any]:
    """What GoTrue puts into a user's access token."""
    now = int(time.time())
    whole = {
        "iss": "https://abc.supabase.co/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "sub": str(uuid.uuid4()),
        "iat": now,
        "exp": now + 60,
        "email": "a@b.test",
        "app_metadata": {"provider": "email", "tenant_id": TENANT, "role": "agent", "user_id": USER},
        "user_metadata": {"tenant_id": "somebody else's", "role": "admin"},
        "session_id": str(uuid.uuid4()),
        **changed,
    }
    return {name: value for name, value in whole.items() if value is not None}


def signed(payload: dict[str, Any], key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def by_hand(algorithm: str, key: bytes, kid: str) -> str:
    """A token that PyJWT refuses to make."""

    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    head = part(json.dumps({"alg": algorithm, "typ": "JWT", "kid": kid}).encode())
    body = part(json.dumps(claims()).encode())
    return f"{head}.{body}.{part(hmac.digest(key, f'{head}.{body}'.encode(), hashlib.sha256)) if key else ''}"


def pem(key: Any) -> bytes:
    made: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return made


METADATA = claims()["app_metadata"]

BAD: dict[str, Callable[[], str]] = {
    "another project's secret": lambda: signed(claims(), OTHER),
    "another project's key": lambda: signed(claims(), ec.generate_private_key(ec.SECP256R1()), "ES256", "ec"),
    "HS256 with the public EC key as secret": lambda: by_hand("HS256", pem(EC_KEY), "ec"),
    "HS256 with the public RSA key as secret": lambda: by_hand("HS256", pem(RSA_KEY), "rsa"),
    "HS256 with Interlock's public key as secret": lambda: by_hand("HS256", pem(ISSUER._key), ISSUER.key_id),
    "HS384 with the right secret": lambda: signed(claims(), SECRET + "x" * 20, "HS384"),
    "unsigned": lambda: by_hand("none", b"", "ec"),
    "the RSA key's id with the EC key": lambda: signed(claims(), EC_KEY, "ES256", "rsa"),
    "PS256 with the RSA key": lambda: signed(claims(), RSA_KEY, "PS256", "rsa"),
    "the anon key": lambda: signed({"iss": "supabase", "ref": "abc", "role": "anon", "iat": 1, "exp": 1 << 33}),
    "the service key": lambda: signed(
        {"iss": "supabase", "ref": "abc", "role": "service_role", "iat": 1, "exp": 1 << 33}
    ),
    "another audience": lambda: signed(claims(aud="interlock")),
    "no audience": lambda: signed(claims(aud=None)),
    "no expiry": lambda: signed(claims(exp=None)),
    "expired": lambda: signed(claims(exp=int(time.time()) - 1)),
    "no app_metadata": lambda: signed(claims(app_metadata=None)),
    "no tenant in app_metadata": lambda: signed(claims(app_metadata={**METADATA, "tenant_id": ""})),
    "no role in app_metadata": lambda: signed(claims(app_metadata={**METADATA, "role": None})),
    "a role that is a list": lambda: signed(claims(app_metadata={**METADATA, "role": ["admin"]})),
    "the role of Interlock itself": lambda: signed(claims(app_metadata={**METADATA, "role": "system"})),
    "made for Supabase by Interlock's own key": lambda: SupabaseIssuer(ISSUER).mint(ANNA, 60),
    "made for Supabase, for Interlock itself": lambda: SupabaseIssuer(SECRET).mint(
        Identity("system", "t", "system"), 60
    ),
    "Interlock's claims signed with the project's secret": lambda: signed(
        claims(aud="interlock", iss="interlock", app_metadata={**METADATA, "role": "system"})
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_token_that_must_not_pass(kind: str) -> None:
    token = BAD[kind]()
    with pytest.raises(Unauthenticated) as caught:
        verifier().verify(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [(SECRET, "HS256", None), (SECRET, "HS256", "x"), (EC_KEY, "ES256", "ec"), (RSA_KEY, "RS256", "rsa")],
)
def test_a_project_s_user_is_who_app_metadata_says(key: Any, algorithm: str, kid: str | None) -> None:
    assert verifier().verify(signed(claims(), key, algorithm, kid)) == ANNA


def test_who_has_no_id_of_ours_is_who_supabase_says() -> None:
    subject = str(uuid.uuid4())
    metadata = {"tenant_id": TENANT, "role": "viewer"}
    assert verifier().verify(signed(claims(sub=subject, app_metadata=metadata))).user_id == subject


def test_nothing_of_a_project_is_trusted_unless_told() -> None:
    for token in (signed(claims()), signed(claims(), EC_KEY, "ES256", "ec")):
        with pytest.raises(Unauthenticated):
            TokenVerifier.for_issuer(ISSUER).verify(token)


def test_a_project_cannot_take_the_place_of_interlock_s_key() -> None:
    made = TokenVerifier.for_issuer(ISSUER)
    made.trust_supabase(jwks={"keys": [jwk(EC_KEY, ISSUER.key_id, "ES256")]})
    assert made.verify(ISSUER.mint(ANNA, 60)) == ANNA
    with pytest.raises(Unauthenticated):
        made.verify(signed(claims(), EC_KEY, "ES256", ISSUER.key_id))


def test_a_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(Misconfigured, match="INTERLOCK_SUPABASE_JWT_SECRET"):
        verifier().trust_supabase(secret="short")


def test_a_secret_is_no_public_key() -> None:
    octets = base64.urlsafe_b64encode(OTHER.encode()).rstrip(b"=").decode()
    made = verifier()
    made.trust_supabase(jwks={"keys": [{"kty": "oct", "k": octets, "alg": "HS256", "kid": "oct"}]})
    with pytest.raises(Unauthenticated):
        made.verify(signed(claims(), OTHER, kid="oct"))


def test_what_is_made_for_supabase_is_what_its_policies_read() -> None:
    found = jwt.decode(SupabaseIssuer(SECRET).mint(ANNA, 60), SECRET, algorithms=["HS256"], audience="authenticated")
    assert found["app_metadata"] == {"tenant_id": TENANT, "role": "agent", "user_id": USER}
    assert (found["role"], found["sub"], found["exp"] - found["iat"]) == ("authenticated", USER, 60)
    assert SECRET not in repr(SupabaseIssuer(SECRET))


def test_a_subject_is_a_uuid_always() -> None:
    token = SupabaseIssuer(SECRET).mint(Identity("system", TENANT, "system"), 60)
    found = jwt.decode(token, SECRET, algorithms=["HS256"], audience="authenticated")
    assert uuid.UUID(found["sub"])
    assert found["app_metadata"]["user_id"] == "system"
    ours = jwt.decode(
        SupabaseIssuer(ISSUER).mint(ANNA, 60), ISSUER._key.public_key(), algorithms=["ES256"], audience="authenticated"
    )
    assert ours["sub"] == USER
