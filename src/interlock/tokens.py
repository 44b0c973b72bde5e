"""Access tokens: short-lived ES256 JWTs that every backend trusts, so that one log-in works at all of them.

A token says `sub` (the user's id) and, in `app_metadata`, `tenant_id` and `role`: where Supabase's policies look for them too. Who checks it
needs only the public key, which the gateway serves as JWKS.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interlock.contract import Identity, Role
from interlock.errors import Misconfigured, Unauthenticated

__all__ = ["AUDIENCE", "ISSUER", "TokenIssuer", "TokenVerifier"]

ALGORITHM: Final = "ES256"
ISSUER: Final = "interlock"
AUDIENCE: Final = "interlock"
MAX_TOKEN: Final = 8_192
"""Characters; a longer one is refused unread."""

_ROLES: Final = frozenset(get_args(Role))
_CACHED: Final = 10_000


class TokenIssuer:
    """Signs tokens with a private key on the curve P-256. Its repr shows the key's id alone."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, *, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now = now
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
        now = self._now()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": identity.user_id,
            "iat": int(now),
            "exp": int(now + ttl),
            "role": "authenticated",
            "email": identity.email,
            "app_metadata": {"tenant_id": identity.tenant_id, "role": identity.role},
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers={"kid": self.key_id})

    def jwks(self) -> dict[str, Any]:
        """The public keys, as a JSON Web Key Set."""
        return {"keys": [self.public_jwk]}


class TokenVerifier:
    """Checks tokens: signature (ES256 and nothing else), key, issuer, audience, times, and that tenant and role are there.

    Remembers the tokens that it has checked, until they expire, at most 10,000.
    """

    def __init__(self, jwks: Mapping[str, Any], *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._keys: dict[str, Any] = {}
        self._good: dict[str, tuple[Identity, float]] = {}
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
        self._keys.update(keys)

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

    def _checked(self, token: str, now: float) -> tuple[Identity, float]:
        if len(token) > MAX_TOKEN:
            raise Unauthenticated("the token is too long; log in again")
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(header.get("kid", ""))
            if header.get("alg") != ALGORITHM or key is None:
                raise Unauthenticated("the token is not signed with a key that is trusted here; log in again")
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "iss", "aud"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            raise Unauthenticated(f"the token is not good ({_why(error)}); log in again") from error
        except (ValueError, TypeError, UnicodeError, RecursionError) as error:
            raise Unauthenticated("the token is not a token; log in again") from error
        return _identity(claims), _expiry(claims, now)


def _expiry(claims: Mapping[str, Any], now: float) -> float:
    expires, begins = claims["exp"], claims.get("nbf", 0)
    if not isinstance(expires, (int, float)) or not isinstance(begins, (int, float)):
        raise Unauthenticated("the token's times are not numbers; log in again")
    if expires <= now:
        raise Unauthenticated("the token has expired; refresh it, or log in again")
    if begins > now:
        raise Unauthenticated("the token is not good yet; check the clocks")
    return float(expires)


def _identity(claims: Mapping[str, Any]) -> Identity:
    metadata = claims.get("app_metadata")
    tenant = metadata.get("tenant_id") if isinstance(metadata, dict) else None
    role = metadata.get("role") if isinstance(metadata, dict) else None
    subject, email = claims["sub"], claims.get("email", "")
    if not (isinstance(subject, str) and subject and isinstance(tenant, str) and tenant and role in _ROLES):
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
