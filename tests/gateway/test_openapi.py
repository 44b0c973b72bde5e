"""The OpenAPI describes what is served; Schemathesis finds no server error in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.gateway.conftest import PREFIX, Gateway, opened
from tests.patience import PATIENCE

from interlock.contract import Identity
from interlock.gateway.openapi import document
from interlock.identifiers import new_id

EXAMPLES = 3
"""For each of the operations: some 200 of them."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    """A gateway on a loop of its own, in a thread, as Schemathesis calls from outside of any loop."""
    home: Path = tmp_path_factory.mktemp("openapi")
    ready: threading.Event = threading.Event()
    found: list[Gateway] = []
    loop = asyncio.new_event_loop()
    done = asyncio.Event()

    async def run() -> None:
        opening = opened(home, environment="test", seed_size=3)
        async for gateway in opening:
            found.append(gateway)
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(PATIENCE)
    gateway = found[0]
    try:
        yield gateway, gateway.app.issuer.mint(Identity(new_id(), "north", "admin"), 900)
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join(30)
        loop.close()


def test_no_server_error(served: tuple[Gateway, str]) -> None:
    gateway, token = served
    schema = schemathesis.openapi.from_dict(document(gateway.edge))
    operations = []
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # an operation that is wrong fails the test here
        # A stream has no end to wait for, and a switch would take the backend away that is tested here.
        if not operation.path.endswith(("/changes", "/_switch")):
            operations.append(operation)
    assert len(operations) > 150
    failures: list[str] = []
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def call(case: Any) -> None:
            answer = case.call(base_url=gateway.url, headers={"Authorization": f"Bearer {token}"})
            if answer.status_code >= 500:
                failures.append(f"{case.method} {case.path}: {answer.text[:300]} {answer.request.body!r:.500}")

        call()
    assert failures == []


def test_every_text_anywhere(served: tuple[Gateway, str]) -> None:
    """Any text in any field and filter of a record is stored as it is, or refused by name."""
    gateway, token = served
    import httpx

    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {token}"}) as client:

        @given(text=st.text(max_size=60))
        @settings(max_examples=60, deadline=None, derandomize=True, database=None)
        def call(text: str) -> None:
            answer = client.post(f"{PREFIX}/customers", json={"companyName": "x", "notes": text})
            assert answer.status_code in (201, 400), answer.text
            if answer.status_code == 201:
                assert answer.json()["notes"] == text
                again = client.get(f"{PREFIX}/customers", params={"notes": text, "id": answer.json()["id"]})
                assert [row["notes"] for row in again.json()] == [text]
            else:
                assert answer.json()["errors"].keys() == {"notes"}

        call()


def test_the_document_is_whole(served: tuple[Gateway, str]) -> None:
    gateway, _ = served
    whole = document(gateway.edge)
    names = [operation["operationId"] for methods in whole["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    assert "Credential" not in whole["components"]["schemas"]
    text = str(whole)
    for reference in {part.partition("'")[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in whole["components"]["schemas"], reference
    for resource in gateway.edge.entities:
        assert f"{PREFIX}/{resource}" in whole["paths"]
