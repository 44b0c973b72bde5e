"""The secrets of one stack: made once in its folder, readable by its owner only."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import jwt
import msgspec

__all__ = ["Secrets"]

_YEARS_10 = 10 * 365 * 86_400


class Secrets(msgspec.Struct, frozen=True):
    """What this stack's parts tell each other apart by. Never shown in a repr."""

    jwt_secret: str
    anon_key: str
    service_key: str
    superuser_password: str
    postgres_password: str
    authenticator_password: str
    lite_publishable_key: str
    lite_secret_key: str

    def __repr__(self) -> str:
        return "Secrets(…)"

    @classmethod
    def of(cls, folder: Path) -> Secrets:
        """The secrets of a stack's folder, made where it has none."""
        path = folder / "keys.json"
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=cls)
        made = cls._made()
        whole = path.with_suffix(".new")
        whole.unlink(missing_ok=True)
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(made)))
        whole.replace(path)
        return made

    @classmethod
    def _made(cls) -> Secrets:
        jwt_secret = secrets.token_urlsafe(48)
        return cls(
            jwt_secret=jwt_secret,
            anon_key=_api_key(jwt_secret, "anon"),
            service_key=_api_key(jwt_secret, "service_role"),
            superuser_password=secrets.token_urlsafe(24),
            postgres_password=secrets.token_urlsafe(24),
            authenticator_password=secrets.token_urlsafe(24),
            lite_publishable_key=f"sb_publishable_{secrets.token_urlsafe(24)}",
            lite_secret_key=f"sb_secret_{secrets.token_urlsafe(24)}",
        )


def _api_key(secret: str, role: str) -> str:
    now = int(time.time())
    claims = {"iss": "supabase", "ref": "local", "role": role, "iat": now, "exp": now + _YEARS_10}
    return jwt.encode(claims, secret, algorithm="HS256")
