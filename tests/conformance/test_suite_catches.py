"""A suite that passes everything holds nothing: backends broken on purpose are each caught, and gaps are strict."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from interlock.testing import conformance
from interlock.testing.conformance import BackendConformance
from interlock.testing.gaps import Gap, find_gap, gaps_that_name_nothing

pytest_plugins = ["pytester"]

MUTANTS = Path(__file__).with_name("mutants.py")

MODULE = f"""
import importlib.util

spec = importlib.util.spec_from_file_location("mutants", {str(MUTANTS)!r})
mutants = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mutants)
for name, (mutant, test) in mutants.MUTANTS.items():
    globals()["Test" + name] = mutants.suite_of(mutant, test)
"""


def test_every_mutant_is_caught(pytester: pytest.Pytester) -> None:
    spec = importlib.util.spec_from_file_location("mutants", MUTANTS)
    assert spec is not None
    assert spec.loader is not None
    mutants = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutants)
    pytester.makepyfile(test_mutants=MODULE)
    nodes = [f"test_mutants.py::Test{name}::{test}" for name, (_, test) in mutants.MUTANTS.items()]
    result = pytester.runpytest_inprocess("-q", "-rA", "--tb=line", "-p", "no:cacheprovider", *nodes)
    survivors = [line for line in result.outlines if line.startswith(("PASSED", "ERROR"))]
    assert survivors == []
    assert result.parseoutcomes() == {"failed": len(nodes)}


GAPS = """
import pytest
from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES
from interlock.testing.conformance import Gap, Subject
from interlock.testing.conformance.reads import ReadsSuite
from interlock.testing.samples import TEST_ENTITIES

class TestGaps(ReadsSuite):
    gaps = ({gap},)

    @pytest.fixture
    def subject(self):
        return Subject({backend})
"""
MEMORY = "MemoryBackend((*ENTITIES, *TEST_ENTITIES))"


@pytest.mark.parametrize(
    ("gap", "backend", "outcome"),
    [
        ('Gap("test_the_newest_come_first", "notyet", "because")', "None", {"xfailed": 1, "failed": 1}),
        ('Gap("test_the_newest_come_first", "notyet", "because")', MEMORY, {"failed": 1, "passed": 1}),
        (
            'Gap("test_deleted_records_are_found_as_asked[only]", "never", "because")',
            MEMORY,
            {"failed": 1, "passed": 1},
        ),
    ],
    ids=["a gap fails and that is expected", "a gap that has closed fails", "one case of a test"],
)
def test_gaps_are_strict(pytester: pytest.Pytester, gap: str, backend: str, outcome: dict[str, int]) -> None:
    pytester.makepyfile(test_gaps=GAPS.format(gap=gap, backend=backend))
    named = gap.split('"')[1]
    other = "test_get_answers_an_id_once"
    result = pytester.runpytest_inprocess("-q", f"test_gaps.py::TestGaps::{named}", f"test_gaps.py::TestGaps::{other}")
    assert result.parseoutcomes() == outcome


def test_a_gap_that_names_no_test_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_gaps=GAPS.format(gap='Gap("test_of_nothing", "never", "because")', backend=MEMORY))
    result = pytester.runpytest_inprocess("-q", "-k", "test_every_gap_names_a_test")
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["*test_of_nothing*"])


def test_a_table_of_gaps_is_checked() -> None:
    names = ["test_a", "test_b[x]", "test_b[y]"]
    good = (Gap("test_a", "never", "r"), Gap("test_b[x]", "never", "r"), Gap("test_b", "never", "r"))
    assert gaps_that_name_nothing(good, names) == ()
    bad = (Gap("test_c", "never", "r"), Gap("test_b[z]", "never", "r"), Gap("test_a", "never", " "))
    assert gaps_that_name_nothing(bad, names) == ("test_c", "test_b[z]", "test_a")
    assert gaps_that_name_nothing((good[0], good[0]), names) == ("test_a", "test_a")
    assert find_gap(good, "test_b[q]") == good[2]
    assert find_gap(good, "test_ab") is None


def test_no_two_tests_of_the_suite_have_one_name() -> None:
    suites = {
        part
        for name in conformance.__all__
        if isinstance(suite := getattr(conformance, name), type) and name.endswith("Conformance")
        for part in suite.__mro__
        if part.__module__.startswith("interlock.testing") and part is not BackendConformance.__mro__[-2]
    }
    seen = [name for suite in suites for name in vars(suite) if name.startswith("test_")]
    assert sorted(seen) == sorted(set(seen))


def test_no_test_of_the_suite_skips() -> None:
    folder = Path(conformance.__file__).parent
    assert [path.name for path in folder.glob("*.py") if "pytest.skip" in path.read_text()] == []
