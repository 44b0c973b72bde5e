"""What a hostile server answers, and the one error of ours that each of its tricks becomes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import pytest

from interlock.abilities import Probes
from interlock.contract import Query, Request
from interlock.errors import (
    Conflict,
    DeadlineExceeded,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, Subject
from interlock.testing.hostile import (
    Behaviour,
    HostileServer,
    dead_address,
    drop,
    drop_after_request,
    hang,
    raw,
    stall_body,
    status,
    truncated,
)
from interlock.testing.samples import SAMPLES
from interlock.validation import check_patch, check_row

__all__ = ["Connect", "NativeErrorConformance"]

Connect = Callable[[str], AbstractAsyncContextManager[Subject]]
"""Opens a backend that speaks to the server at a base URL."""

READS: Final = ("find", "get", "aggregate")
WRITES: Final = ("create", "update", "delete", "restore")

NONSENSE: Final[dict[str, Behaviour]] = {
    "nothing": status(200),
    "not_json": status(200, b"<!doctype html><title>Log in</title>"),
    "html": status(200, b"<!doctype html><title>Log in</title>", content_type="text/html"),
    "half_json": status(200, b'[{"id": "01890000-0000-7000-8000-0000000'),
    "not_utf8": status(200, b'[{"label": "\xff\xfe"}]'),
    "lone_surrogate": status(200, b'[{"id": "\\ud800", "label": "\\ud800"}]'),
    "null": status(200, b"null"),
    "number": status(200, b"42"),
    "text": status(200, b'"text"'),
    "list_of_nulls": status(200, b"[null, null]"),
    "wrong_types": status(200, b'[{"id": 7, "label": [], "version": "x", "rank": "y"}]'),
    "wrong_version": status(200, b'{"id": "01890000-0000-7000-8000-000000000000", "label": "x", "version": "one"}'),
    "deep": status(200, b"[" * 100_000),
    "huge_number": status(200, b'[{"version": 1' + b"0" * 400 + b"}]"),
}
"""Answers of good standing that say nothing sensible."""

BROKEN: Final[dict[str, Behaviour]] = {
    "drop": drop(),
    "reset": drop_after_request(),
    "garbage": raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "bad_status": raw(b"HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\n[]"),
    "half_headers": raw(b"HTTP/1.1 200 OK\r\nContent-Type: applic"),
    "bad_length": raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n[]"),
    "bad_chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n"),
    "half_chunks": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"),
    "truncated": truncated(b'[{"id": "x"}]' * 50, keep=20),
    "bad_gzip": raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]"),
}
"""Answers that are no whole HTTP."""


class NativeErrorConformance(Suite):
    """For backends that speak HTTP: the author overrides the fixture `connect`."""

    @pytest.fixture
    def connect(self) -> Connect:
        """Opens a backend at a base URL."""
        raise TypeError("override the fixture `connect`: it opens a Subject with your backend at a base URL")

    @pytest.fixture
    async def server(self) -> AsyncIterator[HostileServer]:
        """A server that misbehaves as told."""
        async with HostileServer() as server:
            yield server

    @pytest.fixture
    async def hostile(self, connect: Connect, server: HostileServer) -> AsyncIterator[Caller]:
        """Somebody calling at that server."""
        async with connect(server.url) as subject:
            yield Caller(subject)

    @pytest.mark.parametrize("verb", [*READS, *WRITES])
    async def test_a_dead_server_is_unavailable(self, connect: Connect, verb: str) -> None:
        async with connect(dead_address()) as subject:
            error = await failure(Caller(subject), verb)
        assert isinstance(error, Unavailable), repr(error)
        assert error.__cause__ is not None, "the native error is the cause"

    async def test_a_probe_of_a_dead_server_says_so(self, connect: Connect) -> None:
        async with connect(dead_address()) as subject:
            health = await subject.ability(Probes).probe()
        assert not health.healthy
        assert health.detail

    async def test_a_probe_of_a_server_that_hangs_ends(self, hostile: Caller, server: HostileServer) -> None:
        server.behave(hang())
        async with asyncio.timeout(20):
            health = await hostile.subject.ability(Probes).probe(timeout=0.2)
        assert not health.healthy

    @pytest.mark.parametrize(
        ("code", "wanted"),
        [(400, Invalid), (401, Unauthenticated), (403, Forbidden), (422, Invalid), (429, RateLimited)]
        + [(code, Unavailable) for code in (408, 500, 502, 503, 504)],
    )
    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b'{"message": "no"}', b"[]"], ids=["empty", "html", "object", "list"]
    )
    @pytest.mark.parametrize("verb", ["find", "update"])
    async def test_a_status_is_an_error(
        self, hostile: Caller, server: HostileServer, code: int, wanted: type[Exception], body: bytes, verb: str
    ) -> None:
        server.behave(status(code, body))
        error = await failure(hostile, verb)
        possible = (wanted, OutcomeUnknown) if code >= 500 or code == 408 else wanted
        assert isinstance(error, wanted if verb == "find" else possible), repr(error)

    async def test_a_409_is_a_conflict_or_a_duplicate(self, hostile: Caller, server: HostileServer) -> None:
        for body in (b"", b"<html>", b'{"message": "taken"}', b"[]"):
            server.behave(status(409, body))
            error = await failure(hostile, "create")
            assert isinstance(error, (Duplicate, Conflict)), repr(error)

    async def test_a_412_is_a_conflict(self, hostile: Caller, server: HostileServer) -> None:
        for body in (b"", b"<html>", b'{"message": "old"}', b"[]"):
            server.behave(status(412, body))
            error = await failure(hostile, "update", expected_version=1)
            assert isinstance(error, Conflict), repr(error)

    async def test_retry_after_is_kept(self, hostile: Caller, server: HostileServer) -> None:
        server.behave(status(429, headers={"Retry-After": "7"}))
        limited = await failure(hostile, "find")
        assert isinstance(limited, RateLimited)
        assert limited.retry_after == 7
        server.behave(status(503, headers={"Retry-After": "9"}))
        unavailable = await failure(hostile, "find")
        assert isinstance(unavailable, Unavailable)
        assert unavailable.retry_after == 9

    @pytest.mark.parametrize("value", ["soon", "-5", "1e400", "nan", "", "Wed, 21 Oct 2099 07:28:00 GMT", "9" * 400])
    async def test_an_odd_retry_after_is_no_trouble(self, hostile: Caller, server: HostileServer, value: str) -> None:
        server.behave(status(429, headers={"Retry-After": value}))
        error = await failure(hostile, "find")
        assert isinstance(error, RateLimited), repr(error)
        assert 0 <= error.retry_after < float("inf")

    @pytest.mark.parametrize("case", NONSENSE)
    @pytest.mark.parametrize("verb", [*READS, *WRITES])
    async def test_an_answer_without_sense(self, hostile: Caller, server: HostileServer, case: str, verb: str) -> None:
        server.behave(NONSENSE[case])
        check_unsettled(await failure(hostile, verb), verb)

    @pytest.mark.parametrize("case", BROKEN)
    @pytest.mark.parametrize("verb", [*READS, *WRITES])
    async def test_an_answer_that_breaks_off(
        self, hostile: Caller, server: HostileServer, case: str, verb: str
    ) -> None:
        server.behave(BROKEN[case])
        check_unsettled(await failure(hostile, verb), verb)

    @pytest.mark.parametrize("case", ["hang", "stall"])
    @pytest.mark.parametrize("verb", ["find", "update"])
    async def test_a_deadline_ends_the_wait(self, hostile: Caller, server: HostileServer, case: str, verb: str) -> None:
        server.behave(hang() if case == "hang" else stall_body(b"[]" * 50, keep=5))
        async with asyncio.timeout(20):
            error = await failure(hostile, verb, deadline=asyncio.get_running_loop().time() + 0.2)
        assert isinstance(error, DeadlineExceeded if verb == "find" else (DeadlineExceeded, OutcomeUnknown)), repr(
            error
        )

    async def test_a_deadline_that_has_passed_sends_nothing(self, hostile: Caller, server: HostileServer) -> None:
        error = await failure(hostile, "create", deadline=asyncio.get_running_loop().time() - 1)
        assert isinstance(error, DeadlineExceeded), repr(error)
        assert server.requests == []

    async def test_a_redirect_is_not_followed(self, hostile: Caller, server: HostileServer) -> None:
        async with HostileServer() as elsewhere:
            for code in (301, 302, 307, 308):
                server.behave(status(code, headers={"Location": f"{elsewhere.url}/api/v1/samples"}))
                error = await failure(hostile, "find")
                assert isinstance(error, Unavailable), repr(error)
            assert elsewhere.requests == [], "a token must not travel to another server"

    async def test_no_error_shows_the_token(self, hostile: Caller, server: HostileServer) -> None:
        for behaviour in (status(401), status(500, b"{}"), drop(), NONSENSE["html"], status(403, b'{"message": "no"}')):
            server.behave(behaviour)
            error = await failure(hostile, "update")
            tokens = [seen.headers.get("authorization", "").partition(" ")[2] for seen in server.requests]
            for told in chain(error):
                assert not any(token and token in told for token in tokens)

    async def test_it_recovers(self, hostile: Caller, server: HostileServer) -> None:
        for behaviour in (drop(), raw(b"garbage"), status(500), truncated(b"[]" * 50, keep=5)):
            server.behave(behaviour)
            await failure(hostile, "find")
        server.behave(status(429, headers={"Retry-After": "3"}))
        assert isinstance(await failure(hostile, "find"), RateLimited)


def ask(caller: Caller, verb: str, **parts: Any) -> Request:
    """A plausible request of this verb."""
    write = {"operation_id": new_id()}
    ids = (new_id(),)
    match verb:
        case "find" | "aggregate":
            return caller.request(verb, SAMPLES, query=Query(), **parts)
        case "get":
            return caller.request(verb, SAMPLES, ids=(new_id(), new_id()), **parts)
        case "create":
            return caller.request(verb, SAMPLES, rows=(check_row(SAMPLES, {"label": "x"}),), **write, **parts)
        case "update":
            return caller.request(verb, SAMPLES, ids=ids, patch=check_patch(SAMPLES, {"rank": 1}), **write, **parts)
    return caller.request(verb, SAMPLES, ids=ids, **write, **parts)  # type: ignore[arg-type]  # one of the verbs


async def failure(caller: Caller, verb: str, **parts: Any) -> InterlockError:
    """The error of a call, raised or in its outcome. Any other exception escapes, and so fails the test."""
    request = ask(caller, verb, **parts)
    try:
        answer = await caller.handle(request)
    except InterlockError as error:
        if isinstance(error, OutcomeUnknown) and error.operation_id != request.operation_id:
            raise AssertionError("OutcomeUnknown must name the operation of its call") from error
        return error
    (outcome,) = answer.outcomes or (None,)
    assert outcome is not None, f"expected an error, got {answer}"
    assert isinstance(outcome.error, InterlockError), f"expected an error, got {outcome}"
    return outcome.error


def check_unsettled(error: InterlockError, verb: str) -> None:
    """A read that failed is `Unavailable`; a write that was sent is of unknown outcome."""
    assert isinstance(error, Unavailable if verb in READS else OutcomeUnknown), repr(error)


def chain(error: BaseException) -> list[str]:
    """What the error and its causes show."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None:
        told += [str(current), repr(current)]
        current = current.__cause__ or current.__context__
    return told
