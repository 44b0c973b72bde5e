"""The demo: two tenants, four users who can log in, and believable data for both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Final

import msgspec

from interlock.abilities import FindsAccounts, StoresFiles
from interlock.accounts import password_lookup
from interlock.contract import Backend, Identity, Record, Request
from interlock.entities.file import File
from interlock.entities.user import Credential, User
from interlock.errors import Duplicate
from interlock.seed.generator import file_content, generate
from interlock.seed.ids import fixed_id

__all__ = ["ACME", "DEMO_PASSWORD", "DEMO_USERS", "GLOBEX", "seed_demo"]

ACME: Final = "01930000-0000-7000-8000-00000000ac3e"
GLOBEX: Final = "01930000-0000-7000-8000-00000000910b"
"""The ids of the demo tenants."""

DEMO_PASSWORD: Final = "interlock-demo"  # noqa: S105 - everybody may know it; demo users are made in development alone

DEMO_USERS: Final[tuple[Identity, ...]] = (
    Identity("01930000-0000-7000-8000-0000000ac301", ACME, "admin", "admin@acme.test"),
    Identity("01930000-0000-7000-8000-0000000ac302", ACME, "agent", "agent@acme.test"),
    Identity("01930000-0000-7000-8000-0000000ac303", ACME, "viewer", "viewer@acme.test"),
    Identity("01930000-0000-7000-8000-000000910b01", GLOBEX, "admin", "admin@globex.test"),
)

_NAMES: Final = ("Ada Admin", "Anton Agent", "Vera Viewer", "Gloria Globex")

# The hash of the demo password, made once, so that the same rows are made at every run.
_SECRET: Final = "$argon2id$v=19$m=19456,t=2,p=1$aW50ZXJsb2NrLWRlbW8tMQ$Tg/GmWADuiB1t2z1Bp0OJrQcHoU1XOU5QcmeG5ZgjjQ"  # noqa: S105 - as above


async def seed_demo(
    backend: Backend, *, size: int = 60, seed: int = 1, today: date | None = None, files: StoresFiles | None = None
) -> int:
    """Make the demo tenants, their users and `size` customers for each with all that belongs to them.

    Answers the number of rows made. What is there already stays as it is, so a second run makes nothing. Passwords go only to a
    backend that keeps credentials, files only where `files`, by default the backend, keeps their bytes.
    """
    if files is None and isinstance(backend, StoresFiles):
        files = backend
    made = 0
    missing: set[str] = set()
    for admin in (DEMO_USERS[0], DEMO_USERS[3]):
        users = [identity for identity in DEMO_USERS if identity.tenant_id == admin.tenant_id]
        made += await _create(backend, admin, "users", tuple(_user(identity) for identity in users), missing)
        if isinstance(backend, FindsAccounts):
            passwords = tuple(_password(identity) for identity in users)
            made += await _create(backend, admin, "credentials", passwords, missing)
        if size == 0:
            continue
        for identity, resource, rows in generate(seed, (admin,), size, today=today):
            if resource == "files":
                made += await _create_files(backend, files, identity, rows, missing)
            else:
                made += await _create(backend, identity, resource, rows, missing)
    return made


def _user(identity: Identity) -> User:
    name = _NAMES[DEMO_USERS.index(identity)]
    return User(id=identity.user_id, email=identity.email, display_name=name, role=identity.role)  # type: ignore[arg-type]  # no demo user is `system`


def _password(identity: Identity) -> Credential:
    return Credential(
        id=fixed_id(f"password/{identity.user_id}"),
        user_id=identity.user_id,
        kind="password",
        lookup=password_lookup(identity.user_id),
        secret=_SECRET,
    )


async def _create(
    backend: Backend, identity: Identity, resource: str, rows: tuple[Record, ...], missing: set[str]
) -> int:
    """Create the rows, but for those that refer to one that could not be made. Answers how many were made."""
    rows = tuple(row for row in rows if missing.isdisjoint(_references(row)))
    if not rows:
        return 0
    outcomes = (await backend.handle(Request("create", resource, identity, rows=rows))).outcomes
    for outcome in outcomes:
        if isinstance(outcome.error, Duplicate):
            if outcome.error.field != "id":
                missing.add(outcome.id)
        elif outcome.error is not None:
            raise outcome.error
    return sum(outcome.ok for outcome in outcomes)


def _references(row: Record) -> list[str]:
    """The ids that a row holds, its own excepted."""
    return [value for name, value in msgspec.structs.asdict(row).items() if name.endswith("_id") and value]


async def _create_files(
    backend: Backend, files: StoresFiles | None, identity: Identity, rows: tuple[Record, ...], missing: set[str]
) -> int:
    if files is None:
        return 0
    for row in rows:
        assert isinstance(row, File)  # noqa: S101 - the generator makes nothing else here
        await files.write_blob(identity, row.id, _chunks(file_content(row)))
    return await _create(backend, identity, "files", rows, missing)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content
