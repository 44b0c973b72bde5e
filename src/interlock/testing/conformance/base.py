"""What all classes of the suite share: the fixtures, and strict gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from interlock.testing.gaps import Gap, find_gap, gaps_that_name_nothing
from interlock.testing.harness import Caller, Subject

__all__ = ["Suite"]


class Suite:
    """The root of the suite's classes. An author overrides the fixture `subject`, and `another` for `InstancesSuite`.

    `gaps` is the backend's table of what it is known not to do.
    """

    pytestmark = pytest.mark.anyio
    gaps: ClassVar[Sequence[Gap]] = ()

    @pytest.fixture(scope="session")
    @classmethod
    def anyio_backend(cls) -> str:
        """The event loop that the suite runs on."""
        return "asyncio"

    @pytest.fixture
    def subject(self) -> Subject:
        """The backend under test."""
        raise TypeError("override the fixture `subject`: it gives a Subject with your backend")

    @pytest.fixture
    def caller(self, subject: Subject) -> Caller:
        """An admin of a new, empty tenant."""
        return Caller(subject)

    @pytest.fixture(autouse=True)
    def known_gap(self, request: pytest.FixtureRequest) -> None:
        """Expects the failure of a test that the table of gaps names; its success is an error."""
        gap = find_gap(self.gaps, request.node.name)
        if gap is not None:
            request.applymarker(pytest.mark.xfail(reason=f"{gap.word}: {gap.reason}", strict=True))

    def test_every_gap_names_a_test(self, request: pytest.FixtureRequest) -> None:
        """A gap must name one test, once, and say why."""
        collector = request.node.getparent(pytest.Class)
        wrong = gaps_that_name_nothing(self.gaps, [item.name for item in collector.collect()])
        assert not wrong, f"gaps that name no test, stand twice or give no reason: {', '.join(wrong)}"
