"""Access tokens: short-lived ES256 JWTs that every backend trusts, so that one log-in works at all of them.

A token says `sub` (the user's id) and, in `app_metadata`, `tenant_id` and `role`: where Supabase's policies look for them too. Who checks it
needs only the public key, which the gateway serves as JWKS. For a Supabase project, which trusts its own secret first of all, the same
claims are signed with that; and the tokens that the project gave its users are taken here.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, cast, get_args

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.contract import Identity, Role
from interlock.errors import Misconfigured, Unauthenticated

__all__ = [
    "AUDIENCE",
    "ISSUER",
    "VOUCHER_HEADER",
    "Mints",
    "SupabaseIssuer",
    "TokenIssuer",
    "TokenVerifier",
    "identity_in",
]

ALGORITHM: Final = "ES256"
ISSUER: Final = "interlock"
AUDIENCE: Final = "interlock"
SUPABASE_AUDIENCE: Final = "authenticated"
VOUCHER_AUDIENCE: Final = "interlock-services"
VOUCHER_HEADER: Final = "Interlock-Voucher"
"""The header in which one Interlock tells another that a call comes from its services, which have checked what they send."""
VOUCHER_SECONDS: Final = 300.0
MAX_TOKEN: Final = 8_192
"""Characters; a longer one is refused unread."""

_ROLES: Final = frozenset(get_args(Role))
_USER_ROLES: Final = _ROLES - {"system"}
_CACHED: Final = 10_000
_ASYMMETRIC: Final = ("ES256", "RS256")
_MIN_SECRET: Final = 32


class Mints(Protocol):
    """Makes tokens that somebody trusts."""

    def mint(self, identity: Identity, ttl: float) -> str:
        """A token for the identity, good for `ttl` seconds."""
        ...


class TokenIssuer:
    """Signs tokens with a private key on the curve P-256. Its repr shows the key's id alone."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now
        self._voucher = ("", 0.0)
        self.public_jwk: dict[str, Any] = _public_jwk(key.public_key())
        self.key_id: str = self.public_jwk["kid"]

    def __repr__(self) -> str:
        return f"TokenIssuer(key_id={self.key_id!r})"

    @classmethod
    def new(cls, *, now: Callable[[], float] = time.time) -> TokenIssuer:
        """An issuer with a key of its own, kept nowhere."""
        return cls(ec.generate_private_key(ec.SECP256R1()), now=now)

    @classmethod
    def from_directory(cls, directory: Path, *, now: Callable[[], float] = time.time) -> TokenIssuer:
        """The issuer whose key is in the directory; the first to ask makes it, readable by its owner alone."""
        path = directory / "signing.pem"
        if not path.exists():
            _write_new_key(path)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise Misconfigured([f"{path}: is not a private key that can be read; restore it, or delete it"]) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise Misconfigured([f"{path}: is not a key on the curve P-256; restore it, or delete it"])
        return cls(key, now=now)

    def mint(self, identity: Identity, ttl: float) -> str:
        """A token for the identity, good for `ttl` seconds."""
        metadata = {"tenant_id": identity.tenant_id, "role": identity.role}
        return self.sign(_claims(identity, AUDIENCE, identity.user_id, metadata, self._now(), ttl))

    def voucher(self) -> str:
        """A token that speaks for no user, but for the services of this installation; made anew before it expires."""
        token, until = self._voucher
        now = self._now()
        if now >= until:
            claims = {"iss": ISSUER, "aud": VOUCHER_AUDIENCE, "sub": ISSUER, "iat": int(now)}
            token = self.sign({**claims, "exp": int(now + VOUCHER_SECONDS)})
            self._voucher = (token, now + VOUCHER_SECONDS * 0.8)
        return token

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token of these claims."""
        return jwt.encode(dict(claims), self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def jwks(self) -> dict[str, Any]:
        """The public keys, as a JSON Web Key Set."""
        return {"keys": [self.public_jwk]}


class SupabaseIssuer:
    """Makes tokens that a Supabase project takes for its own users': for users who logged in elsewhere, and for Interlock itself.

    They are signed with the project's JWT secret (HS256); where that is not known, with Interlock's own key, which the project must
    have been told to trust.
    """

    def __init__(self, signer: str | TokenIssuer, *, now: Callable[[], float] = time.time) -> None:
        self._signer = signer
        self._now = now

    def __repr__(self) -> str:
        return f"SupabaseIssuer({'secret hidden' if isinstance(self._signer, str) else repr(self._signer)})"

    def mint(self, identity: Identity, ttl: float) -> str:
        """A token for the identity, good for `ttl` seconds."""
        metadata = {"tenant_id": identity.tenant_id, "role": identity.role, "user_id": identity.user_id}
        subject = _as_uuid(identity.user_id)
        claims = _claims(identity, SUPABASE_AUDIENCE, subject, metadata, self._now(), ttl)
        if isinstance(self._signer, TokenIssuer):
            return self._signer.sign(claims)
        return jwt.encode(claims, self._signer, algorithm="HS256")


def _claims(
    identity: Identity, audience: str, subject: str, metadata: Mapping[str, str], now: float, ttl: float
) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": audience,
        "sub": subject,
        "iat": int(now),
        "exp": int(now + ttl),
        "role": "authenticated",
        "email": identity.email,
        "app_metadata": dict(metadata),
    }


def _as_uuid(user_id: str) -> str:
    """The id, or one made from it: Supabase casts every `sub` to a UUID, and ours are not all of that form."""
    try:
        return str(uuid.UUID(user_id))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"interlock:{user_id}"))


class _Trusted(NamedTuple):
    """A key, with the one algorithm that it is for, and what a token signed with it must say."""

    algorithm: str
    key: Any
    audience: str
    issuer: str | None
    roles: frozenset[str]


class TokenVerifier:
    """Checks tokens: signature, by the one algorithm that its key is for; issuer, audience, times; and that tenant and role are there.

    Remembers the tokens that it has checked, until they expire, at most 10,000.
    """

    def __init__(self, jwks: Mapping[str, Any], *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._keys: dict[str, _Trusted] = {}
        self._secrets: tuple[_Trusted, ...] = ()
        self._good: dict[str, tuple[Identity, float]] = {}
        self._vouched = ("", 0.0)
        self.trust(jwks)

    @classmethod
    def for_issuer(cls, issuer: TokenIssuer, *, now: Callable[[], float] = time.time) -> TokenVerifier:
        """Trusts the issuer's own key."""
        return cls(issuer.jwks(), now=now)

    def trust(self, jwks: Mapping[str, Any]) -> None:
        """Trust the ES256 keys of another issuer's key set too. Raises `Misconfigured` for one that is malformed."""
        try:
            keys = {key["kid"]: jwt.PyJWK.from_dict(key, ALGORITHM).key for key in jwks["keys"] if key["kty"] == "EC"}
        except (KeyError, TypeError, jwt.PyJWTError) as error:
            raise Misconfigured(["the key set is not a JSON Web Key Set of P-256 keys, each with its kid"]) from error
        self._keys.update({kid: _Trusted(ALGORITHM, key, AUDIENCE, ISSUER, _ROLES) for kid, key in keys.items()})

    def trust_supabase(self, *, secret: str | None = None, jwks: Mapping[str, Any] | None = None) -> None:
        """Trust a Supabase project's tokens too: by its JWT secret (HS256), by its public keys (ES256, RS256), or by both.

        A key that says no algorithm, or one that is not for signatures with a public key, is passed over. None of them speaks for
        Interlock itself: the role `system` is refused. Raises `Misconfigured` for a secret that is too short.
        """
        if secret is not None:
            if len(secret) < _MIN_SECRET:
                raise Misconfigured(
                    [f"INTERLOCK_SUPABASE_JWT_SECRET: has fewer than {_MIN_SECRET} characters; copy it whole"]
                )
            held = _Trusted("HS256", secret, SUPABASE_AUDIENCE, None, _USER_ROLES)
            self._secrets = (*(known for known in self._secrets if known.key != secret), held)
        for key in (jwks or {}).get("keys", ()):
            algorithm, kid = key.get("alg"), key.get("kid")
            if algorithm not in _ASYMMETRIC or not isinstance(kid, str) or kid in self._keys:
                continue
            try:
                public = jwt.PyJWK.from_dict(key, algorithm).key
            except jwt.PyJWTError as error:
                raise Misconfigured(
                    [f"INTERLOCK_SUPABASE_URL: the project's public key {kid!r} is malformed"]
                ) from error
            self._keys[kid] = _Trusted(algorithm, public, SUPABASE_AUDIENCE, None, _USER_ROLES)

    def verify(self, token: str) -> Identity:
        """Who the token speaks for. Raises `Unauthenticated`, saying what is wrong and never showing the token."""
        held = self._good.get(token)
        now = self._now()
        if held is not None and held[1] > now:
            return held[0]
        identity, expires = self._checked(token, now)
        if len(self._good) >= _CACHED:
            for old in list(self._good)[: _CACHED // 2]:
                del self._good[old]
        self._good[token] = (identity, expires)
        return identity

    def vouches(self, voucher: str | None) -> bool:
        """Whether a voucher is of an Interlock that is trusted here, and has not expired."""
        if voucher is None or len(voucher) > MAX_TOKEN:
            return False
        now = self._now()
        if voucher != self._vouched[0]:
            try:
                held = self._keys.get(jwt.get_unverified_header(voucher).get("kid", ""))
                if held is None or held.issuer != ISSUER:
                    return False
                claims = _decoded(voucher, held._replace(audience=VOUCHER_AUDIENCE))
                self._vouched = (voucher, _expiry(claims, now))
            except (jwt.PyJWTError, Unauthenticated, ValueError, TypeError, UnicodeError, RecursionError):
                return False
        return now < self._vouched[1]

    def _checked(self, token: str, now: float) -> tuple[Identity, float]:
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("the token is too long; log in again")
        try:
            header = jwt.get_unverified_header(token)
            for trusted in self._candidates(header):
                try:
                    claims = _decoded(token, trusted)
                except jwt.InvalidSignatureError:
                    continue
                return identity_in(claims, trusted.roles), _expiry(claims, now)
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not good ({_why(error)}); log in again") from error
        except (ValueError, TypeError, UnicodeError, RecursionError) as error:
            raise Unauthenticated("the token is not a token; log in again") from error
        raise Unauthenticated("the token is not signed with a key that is trusted here; log in again")

    def _candidates(self, header: Mapping[str, Any]) -> tuple[_Trusted, ...]:
        """The keys that may have signed it: of the algorithm that the token names, and each used with its own alone."""
        algorithm = header.get("alg")
        if algorithm == "HS256":
            return self._secrets
        held = self._keys.get(header.get("kid", ""))
        return (held,) if held is not None and held.algorithm == algorithm else ()


def _decoded(token: str, trusted: _Trusted) -> Mapping[str, Any]:
    claims: Mapping[str, Any] = jwt.decode(
        token,
        trusted.key,
        algorithms=[trusted.algorithm],
        audience=trusted.audience,
        issuer=trusted.issuer,
        options={
            "require": ["exp", "iat", "sub", "aud", *(["iss"] if trusted.issuer else [])],
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        },
    )
    return claims


def _expiry(claims: Mapping[str, Any], now: float) -> float:
    expires, begins = claims["exp"], claims.get("nbf", 0)
    if not isinstance(expires, (int, float)) or not isinstance(begins, (int, float)):
        raise Unauthenticated("the token's times are not numbers; log in again")
    if expires <= now:
        raise Unauthenticated("the token has expired; refresh it, or log in again")
    if begins > now:
        raise Unauthenticated("the token is not good yet; check the clocks")
    return float(expires)


def identity_in(claims: Mapping[str, Any], roles: frozenset[str] = _USER_ROLES) -> Identity:
    """Whom a token's claims name: by `app_metadata`, which no user can change. Raises `Unauthenticated` where something is missing.

    A Supabase user's own id stands in `sub`, and the id of the Interlock user in `app_metadata.user_id`, where they differ.
    """
    metadata = claims.get("app_metadata")
    held: Mapping[str, Any] = metadata if isinstance(metadata, dict) else {}
    tenant, role = held.get("tenant_id"), held.get("role")
    subject, email = held.get("user_id") or claims.get("sub"), claims.get("email", "")
    known = isinstance(role, str) and role in roles
    if not (known and isinstance(subject, str) and subject and isinstance(tenant, str) and tenant):
        raise Unauthenticated("the token names no user, tenant or role; log in again")
    return Identity(subject, tenant, cast("Role", role), email if isinstance(email, str) else "")


def _why(error: jwt.PyJWTError) -> str:
    return type(error).__name__.removesuffix("Error")


def _public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    jwk: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key))
    thumb = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"), sort_keys=True)
    kid = hashlib.sha256(thumb.encode()).hexdigest()[:32]
    return {**{n: jwk[n] for n in ("kty", "crv", "x", "y")}, "kid": kid, "alg": ALGORITHM, "use": "sig"}


def _write_new_key(path: Path) -> None:
    """Make the key so that of several processes at once one wins, and nobody reads half of it."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
    except OSError as error:
        raise Misconfigured([f"{path}: cannot be written ({error.strerror}); choose another INTERLOCK_HOME"]) from error
