"""Where the local Supabase of a home folder is, while one runs: one small file of its address and keys, for its owner's eyes only."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

__all__ = ["LocalSupabase"]


class LocalSupabase(msgspec.Struct, frozen=True, rename="camel"):
    """A local Supabase that runs: the process that answers for it, its address and its keys. Its repr hides the keys."""

    pid: int
    url: str
    anon_key: str
    service_key: str
    jwt_secret: str

    def __repr__(self) -> str:
        return f"LocalSupabase(pid={self.pid}, url={self.url!r}, keys hidden)"

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a process at it. They hold secrets."""
        return {
            "INTERLOCK_SUPABASE_URL": self.url,
            "INTERLOCK_SUPABASE_ANON_KEY": self.anon_key,
            "INTERLOCK_SUPABASE_SERVICE_KEY": self.service_key,
            "INTERLOCK_SUPABASE_JWT_SECRET": self.jwt_secret,
        }

    @classmethod
    def found(cls, home: Path) -> LocalSupabase | None:
        """What runs out of this home folder, None where nothing does."""
        try:
            local = msgspec.json.decode(_file(home).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError):
            return None
        return local if local.alive else None

    def remember(self, home: Path) -> None:
        """Say in the home folder that it runs."""
        home.mkdir(parents=True, exist_ok=True)
        whole = _file(home).with_suffix(f".{os.getpid()}.new")
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self))
        whole.replace(_file(home))

    def forget(self, home: Path) -> None:
        """Say that it has ended, unless another has been remembered since."""
        held = LocalSupabase.found(home)
        if held is None or held == self:
            with suppress(FileNotFoundError):
                _file(home).unlink()


def _file(home: Path) -> Path:
    return home / "supabase.json"
