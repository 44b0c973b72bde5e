"""Addresses of files that need no token: signed, for one tenant, one file and a while."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import time
from typing import Final

from interlock.contract import Identity
from interlock.errors import Misconfigured, Unauthenticated

__all__ = ["UrlSigner"]

KEY_BYTES: Final = 32


class UrlSigner:
    """Makes and checks signatures with a key of its own, kept in a file that only the owner reads."""

    def __init__(self, key: bytes, clock: Callable[[], float] = time) -> None:
        self._key = key
        self._clock = clock

    def __repr__(self) -> str:
        return "UrlSigner(key hidden)"

    @classmethod
    def from_directory(cls, directory: Path) -> UrlSigner:
        """The key of the folder, made at the first time."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / "urls.key"
        if not path.exists():
            _write_new_key(path)
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise Misconfigured([f"{path}: is not a key of {KEY_BYTES} bytes; restore it, or delete it"])
        return cls(key)

    def sign(self, tenant_id: str, file_id: str, expires: int) -> str:
        """A signature good for `expires` seconds."""
        until = int(self._clock()) + expires
        payload = f"{until}.{_text(tenant_id.encode())}"
        return f"{payload}.{_text(self._mac(payload, file_id))}"

    def check(self, signature: str, file_id: str) -> Identity:
        """Who may read the file with this signature. Raises `Unauthenticated` for a forged and for an expired one."""
        payload, _, mac = signature.rpartition(".")
        until, _, tenant = payload.partition(".")
        if not mac or not hmac.compare_digest(
            mac.encode("utf-8", "replace"), _text(self._mac(payload, file_id)).encode()
        ):
            raise Unauthenticated("the signature is not good for this file; ask for another address")
        if int(until) < self._clock():
            raise Unauthenticated("the address has expired; ask for another one")
        tenant_id = base64.urlsafe_b64decode(tenant + "=" * (-len(tenant) % 4)).decode()
        return Identity("signed-url", tenant_id, "viewer")

    def _mac(self, payload: str, file_id: str) -> bytes:
        return hmac.digest(self._key, f"{payload}\n{file_id}".encode("utf-8", "replace"), "sha256")


def _write_new_key(path: Path) -> None:
    """Make the key so that of several processes at once one wins, and nobody reads half of it."""
    handle, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
