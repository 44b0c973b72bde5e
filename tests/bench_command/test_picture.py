"""The picture says what the figures say, in each of its forms."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from interlock.cli.benching import Plan
from interlock.cli.benching.command import compare, write
from interlock.cli.benching.picture import page, picture
from interlock.cli.benching.report import Failure, Report, figure
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
async def report(settings: Settings, plan: Callable[..., Plan], anyio_backend: str) -> Report:
    return await compare(settings, plan(verbs=("get", "find", "create"), bare=True))


def told(svg: bytes) -> dict[str, str]:
    """The texts of a picture by their ids."""
    root = ElementTree.fromstring(svg)  # noqa: S314  # a picture that was made here
    assert root.tag == f"{SVG}svg"
    return {
        group.attrib["id"]: "".join("".join(text.itertext()) for text in group.iter(f"{SVG}text")).strip()
        for group in root.iter(f"{SVG}g")
        if re.fullmatch(r"[\w-]+\.\w+\.\d+\.(latency|rate)", group.attrib.get("id", ""))
    }


async def test_every_figure_stands_in_the_picture(report: Report) -> None:
    texts = told(picture(report))
    assert len(texts) == 2 * len(report.results)
    again = msgspec.json.decode(msgspec.json.encode(report), type=Report)
    for found in again.results:
        key = f"{found.name.replace(' ', '-')}.{found.verb}.{found.at_once}"
        assert texts[f"{key}.latency"] == " / ".join(map(figure, (found.p50_ms, found.p95_ms, found.p99_ms)))
        assert texts[f"{key}.rate"] == figure(found.calls_per_second)


async def test_the_same_figures_make_the_same_picture(report: Report) -> None:
    assert picture(report) == picture(report)


async def test_a_picture_without_figures_and_one_with_errors(report: Report) -> None:
    nothing = msgspec.structs.replace(report, results=(), interrupted=True)
    assert told(picture(nothing)) == {}
    first, *others = report.results
    failed = msgspec.structs.replace(
        first, errors={"unavailable": 3}, calls=0, calls_per_second=None, p50_ms=None, p95_ms=None, p99_ms=None
    )
    subjects = (
        *report.compared,
        msgspec.structs.replace(report.compared[0], name="real", error=Failure("unavailable", "away <&>")),
    )
    troubled = msgspec.structs.replace(report, results=(failed, *others), compared=subjects)
    texts = told(picture(troubled))
    assert texts[f"{first.name}.{first.verb}.{first.at_once}.latency"] == "unavailable 3"
    assert b"unavailable 3" in page(troubled)
    only = msgspec.structs.replace(report, results=(failed,))
    assert picture(only, "png").startswith(b"\x89PNG\r\n")


async def test_a_page_has_the_picture_and_the_table(report: Report) -> None:
    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.tags.append(tag)

    read = Cells()
    text = page(report).decode()
    read.feed(text)
    assert read.tags.count("svg") == 1
    assert read.tags.count("tr") == len(report.results) + 1
    assert not re.search(r"(?:src|href)=[\"']https?:", text), "the page loads nothing"


@pytest.mark.parametrize("name", ["a.svg", "a.png", "a.html", "a.json"])
async def test_files_appear_whole(report: Report, plan: Callable[..., Plan], tmp_path: Path, name: str) -> None:
    wanted = plan(out=tmp_path / name)
    write(report, wanted)
    assert set(os.listdir(tmp_path)) == {name, "home"}
    content = (tmp_path / name).read_bytes()
    if name == "a.json":
        assert msgspec.json.decode(content, type=Report) == report
        assert json.loads(content)["results"][0]["p50Ms"] == report.results[0].p50_ms


def test_figures_have_three_digits_that_count() -> None:
    shown = [figure(value) for value in (None, 0.00012345, 0.5, 1, 12.34, 123.4, 999.9, 1234.5, 987654.0)]
    assert shown == ["-", "0.000123", "0.5", "1", "12.3", "123", "1,000", "1,230", "988,000"]
