"""The suite that every backend passes.

An author inherits the classes in a pytest module and gives the fixture `subject`, of any scope, and `another`::

    class TestMine(BackendConformance, ChangesConformance):
        gaps = (Gap("test_near[50-Berlin]", "notyet", "the server has no geography"),)

        @pytest.fixture
        async def subject(self):
            async with MyBackend(TEST_ENTITIES + ENTITIES) as backend:
                yield Subject(backend)

Every test works in a tenant of its own, so that one server can be shared by all. A test for which the backend has no ability is not
there; what a backend fails stands in its table of gaps.
"""

from __future__ import annotations

import pkgutil
from types import MappingProxyType
from typing import Final

import pytest

pytest.register_assert_rewrite(
    "interlock.testing.harness", *(f"{__name__}.{m.name}" for m in pkgutil.iter_modules(__path__))
)

from interlock.abilities import (  # noqa: E402 - after the assertions are rewritten
    Authenticates,
    ForwardsAudit,
    Probes,
    RecoversAccounts,
    SignsUrls,
    StoresFiles,
    Subscribes,
)
from interlock.testing.conformance.aggregates import AggregatesSuite  # noqa: E402 - after the assertions are rewritten
from interlock.testing.conformance.auth import AccountsConformance, AuthConformance  # noqa: E402 - the same
from interlock.testing.conformance.bulk import BulkSuite  # noqa: E402 - the same
from interlock.testing.conformance.changes import ChangesConformance  # noqa: E402 - the same
from interlock.testing.conformance.concurrency import ConcurrencySuite  # noqa: E402 - the same
from interlock.testing.conformance.files import FilesConformance, SignedUrlsConformance  # noqa: E402 - the same
from interlock.testing.conformance.filters import FiltersSuite  # noqa: E402 - the same
from interlock.testing.conformance.geo import GeoSuite  # noqa: E402 - the same
from interlock.testing.conformance.instances import InstancesSuite  # noqa: E402 - the same
from interlock.testing.conformance.native import Connect, NativeErrorConformance  # noqa: E402 - the same
from interlock.testing.conformance.operations import OperationsSuite  # noqa: E402 - the same
from interlock.testing.conformance.paging import PagingSuite  # noqa: E402 - the same
from interlock.testing.conformance.probing import ForwardingConformance, ProbesConformance  # noqa: E402 - the same
from interlock.testing.conformance.reads import ReadsSuite  # noqa: E402 - the same
from interlock.testing.conformance.replication import PutSuite  # noqa: E402 - the same
from interlock.testing.conformance.searching import SearchSuite  # noqa: E402 - the same
from interlock.testing.conformance.sorting import SortingSuite  # noqa: E402 - the same
from interlock.testing.conformance.tenancy import TenancySuite  # noqa: E402 - the same
from interlock.testing.conformance.trail import TrailSuite  # noqa: E402 - the same
from interlock.testing.conformance.uniqueness import UniquenessSuite  # noqa: E402 - the same
from interlock.testing.conformance.values import ValuesSuite  # noqa: E402 - the same
from interlock.testing.conformance.writes import WritesSuite  # noqa: E402 - the same
from interlock.testing.gaps import Gap  # noqa: E402 - the same
from interlock.testing.harness import Caller, Login, Subject  # noqa: E402 - the same

__all__ = [
    "AccountsConformance",
    "AuthConformance",
    "BackendConformance",
    "Caller",
    "ChangesConformance",
    "Connect",
    "FilesConformance",
    "ForwardingConformance",
    "Gap",
    "Login",
    "NativeErrorConformance",
    "ProbesConformance",
    "SignedUrlsConformance",
    "Subject",
]

ABILITIES: Final = MappingProxyType(
    {
        Subscribes: ChangesConformance,
        StoresFiles: FilesConformance,
        SignsUrls: SignedUrlsConformance,
        Authenticates: AuthConformance,
        RecoversAccounts: AccountsConformance,
        Probes: ProbesConformance,
        ForwardsAudit: ForwardingConformance,
    }
)
"""Which class holds which ability."""


class BackendConformance(
    WritesSuite,
    UniquenessSuite,
    ReadsSuite,
    FiltersSuite,
    SearchSuite,
    SortingSuite,
    PagingSuite,
    GeoSuite,
    AggregatesSuite,
    BulkSuite,
    OperationsSuite,
    ConcurrencySuite,
    TenancySuite,
    PutSuite,
    ValuesSuite,
    TrailSuite,
    InstancesSuite,
):
    """What every backend does: the contract of `Backend.handle`."""

    async def test_every_ability_is_held_to_its_tests(self, subject: Subject) -> None:
        """Who has an ability inherits its class too."""
        missing = [
            suite.__name__ for wanted, suite in ABILITIES.items() if subject.has(wanted) and not isinstance(self, suite)
        ]
        assert not missing, f"inherit {', '.join(missing)} too, or name the gap"
