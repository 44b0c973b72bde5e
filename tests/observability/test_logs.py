"""What a line of the log holds, and what it does not."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs
from tests.observability.test_metrics import CALLER, Answers, asked

from interlock.contract import Outcome, Request, Response
from interlock.errors import Conflict, Misconfigured
from interlock.observability import Observability
from interlock.observability.logs import TenantNames, configure, named_operation, scrubbed

pytestmark = pytest.mark.anyio


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged, as the product writes it."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = tuple(root.handlers), root.level
    stream = io.StringIO()
    configure(logging.INFO, stream)
    yield stream
    structlog.configure(**before)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)


async def test_a_call_is_one_line(tmp_path: Path) -> None:
    watched = Observability(metrics=False, log_calls=True, keys=tmp_path)
    around = watched.meter_for("customers", "sql", 3)
    assert around is not None
    refused = Response(outcomes=(Outcome("r-1", error=Conflict("customers", "r-1", 1)),))
    with capture_logs() as lines, watched.request("PATCH", {"x-request-id": "0123456789abcdef"}) as request:
        await around(Answers(refused)).handle(asked("update"))
        request.route, request.status = "/api/v1/{resource}/{id}", 412
    call, answered = lines
    assert call.pop("seconds") >= 0
    assert call == {
        "event": "call",
        "log_level": "info",
        "request": "0123456789abcdef",
        "tenant": TenantNames.from_directory(tmp_path).of(CALLER.tenant_id),
        "service": "customers",
        "backend": "sql",
        "epoch": 3,
        "operation": "update",
        "resource": "customers",
        "operation_id": named_operation("op-1"),
        "outcome": "rejected",
        "error": "conflict",
    }
    assert (answered["event"], answered["route"], answered["status"]) == ("request", "/api/v1/{resource}/{id}", 412)


async def test_a_call_that_breaks_is_a_line_without_its_words(tmp_path: Path) -> None:
    around = Observability(metrics=False, log_calls=True, keys=tmp_path).meter_for("customers", "sql")
    assert around is not None
    with capture_logs() as lines, pytest.raises(ValueError, match="Ada"):
        await around(Answers(ValueError("Ada"))).handle(asked())
    (line,) = lines
    assert (line["outcome"], line["error"]) == ("internal", "ValueError")
    assert "Ada" not in str(line)


@pytest.mark.parametrize("given", ["ada@example.test", "Ada Lovelace", "0123456789abcde", "0" * 65, ""])
def test_a_request_id_that_may_be_a_name_is_replaced(tmp_path: Path, given: str) -> None:
    watched = Observability(metrics=False, log_calls=True, keys=tmp_path)
    with capture_logs(), watched.request("GET", {"x-request-id": given}) as request:
        assert request.id != given
        assert len(request.id) == 36


def test_operation_ids_are_told_as_they_are_unless_they_may_be_words() -> None:
    assert named_operation("01930000-0000-7000-8000-00000000ac3e") == "01930000-0000-7000-8000-00000000ac3e"
    assert named_operation("") == ""
    assert named_operation("order of Ada") == named_operation("order of Ada")
    assert "Ada" not in named_operation("order of Ada")


def test_a_tenants_name_is_the_installations_own(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    name = TenantNames.from_directory(here).of("north")
    assert TenantNames.from_directory(here).of("north") == name
    assert TenantNames.from_directory(there).of("north") != name
    assert TenantNames.from_directory(here).of("south") != name
    assert stat.S_IMODE((here / "logs.key").stat().st_mode) == 0o600
    assert [path.name for path in here.iterdir()] == ["logs.key"]
    (here / "logs.key").write_bytes(b"short")
    with pytest.raises(Misconfigured, match="restore it, or delete it"):
        TenantNames.from_directory(here)


def test_calls_are_not_logged_without_a_key() -> None:
    with pytest.raises(Misconfigured, match="INTERLOCK_LOG_CALLS"):
        Observability(log_calls=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("to ada.l+x@mail.example.test now", "to [hidden] now"),
        ("postgresql://root:secret@db/x", "postgresql://[hidden]@db/x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [hidden]"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", "[hidden]"),
        ("http://127.0.0.1:8000/api/v1", "http://127.0.0.1:8000/api/v1"),
        ("customers mock -> sql", "customers mock -> sql"),
    ],
)
def test_texts_are_searched_for_what_they_may_not_hold(text: str, told: str) -> None:
    assert scrubbed(text) == told
    assert scrubbed({"a": [text, (text,)], "n": 3, "b": True, "o": None}) == {
        "a": [told, [told]],
        "n": 3,
        "b": True,
        "o": None,
    }


def test_libraries_are_heard_by_their_templates(written: io.StringIO) -> None:
    library = logging.getLogger("a.library")
    library.warning("connecting to %s", "ada")
    library.error("refused ada")
    library.info("too quiet")
    try:
        raise OSError("ada")
    except OSError:
        library.exception("failed for %s", "ada")
    first, second, third = (json.loads(line) for line in written.getvalue().splitlines())
    assert (first["level"], first["logger"], first["text"]) == ("warning", "a.library", "connecting to %s")
    assert second["text"].startswith("test_logs:")
    assert (third["error"], len(third["at"])) == ("OSError", 1)
    assert "ada" not in written.getvalue()


def test_a_second_configuration_takes_the_place_of_the_first(written: io.StringIO) -> None:
    configure(logging.INFO, written)
    logging.getLogger("a.library").warning("once")
    assert len(written.getvalue().splitlines()) == 1


def test_the_level_holds(written: io.StringIO) -> None:
    configure(logging.ERROR, written)
    structlog.get_logger("x").warning("not told")
    structlog.get_logger("x").error("told")
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["told"]


async def test_who_leaves_is_told_too(tmp_path: Path) -> None:
    around = Observability(metrics=False, log_calls=True, keys=tmp_path).meter_for("customers", "sql")
    assert around is not None

    class Hangs:
        async def handle(self, request: Request) -> Response:
            await asyncio.Event().wait()
            return Response()

    with capture_logs() as lines:
        task = asyncio.ensure_future(around(Hangs()).handle(asked()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert lines[0]["outcome"] == "cancelled"
