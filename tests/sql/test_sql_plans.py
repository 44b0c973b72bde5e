"""What is asked for often is found by an index, and text that looks like a pattern is text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.backends.sql import SqlBackend
from interlock.backends.sql.shapes import take_apart
from interlock.contract import Condition, Group, Identity, Query, Record, Request, Sort
from interlock.entities import CUSTOMERS, Customer
from interlock.paging import encode_cursor, full_order
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

Open = Callable[[str], Awaitable[SqlBackend]]

ROW = Customer(id="x", company_name="x", created_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(), "ix_customers_recent (tenant_id=?)"),
        (Query(cursor=encode_cursor(full_order(Query()), ROW)), "ix_customers_recent (tenant_id=? AND created_at<?)"),
        (Query(where=Condition("email", "eq", "a@b.c")), "uq_customers_email (tenant_id=? AND _u_email=?)"),
        (Query(where=Condition("email", "in", ("a@b.c",))), "uq_customers_email (tenant_id=? AND _u_email=?)"),
        (Query(where=Condition("id", "in", ("x", "y"))), "sqlite_autoindex_customers_1 (tenant_id=? AND id=?)"),
        (Query(where=Condition("assigned_to", "eq", "x")), "ix_customers_assigned_to (tenant_id=? AND assigned_to=?)"),
    ],
)
async def test_finds_go_by_an_index(tmp_path: Path, opened: Open, query: Query, index: str) -> None:
    backend = await opened(f"sqlite+aiosqlite:///{tmp_path}/plans.db")
    parts = take_apart(CUSTOMERS, backend._dialect, "t1", query)
    find = backend._statements["customers"].find(parts.shape)
    values = find.values({**parts.values, "limit": 51, "offset": 0})
    async with backend._database.reading() as session:
        plan = await session.fetch(f"explain query plan {find.sql}", values)
    assert any(index in step[-1] for step in plan), plan


async def test_statements_are_compiled_once_for_a_shape(tmp_path: Path, opened: Open) -> None:
    backend = await opened(f"sqlite+aiosqlite:///{tmp_path}/shapes.db")
    statements = backend._statements["customers"]

    def statement(query: Query) -> object:
        return statements.find(take_apart(CUSTOMERS, backend._dialect, "t1", query).shape)

    one = statement(Query(where=Condition("city", "in", ("a", "b")), sort=(Sort("city"),), limit=5))
    same = statement(Query(where=Condition("city", "in", ("c",)), sort=(Sort("city"),), limit=9, offset=3))
    other = statement(Query(where=Condition("city", "nin", ("c",)), sort=(Sort("city"),)))
    assert one is same
    assert one is not other


@pytest.mark.parametrize("text", ["%", "_", "\\", "*", "?", "[a]", "'", '"', "a%b", "\\%", "--", "💡", "İ", "ẞ"])
async def test_every_character_is_literal(url: str, opened: Open, me: Identity, text: str) -> None:
    backend = await opened(url)
    rows: tuple[Record, ...] = tuple(
        check_row(CUSTOMERS, {"company_name": name}) for name in (f"x{text}y", f"{text}x", "plain xay", "PLAIN")
    )
    await backend.handle(Request("create", "customers", me, rows=rows))

    async def found(query: Query) -> set[str]:
        return {row.company_name for row in (await backend.handle(Request("find", "customers", me, query=query))).rows}

    both = {f"x{text}y", f"{text}x"}
    assert await found(Query(where=Condition("company_name", "contains", text))) == both
    assert await found(Query(where=Condition("company_name", "startswith", text))) == {f"{text}x"}
    assert await found(Query(search=text)) == both
    deep = Group("and", (Group("or", (Condition("company_name", "eq", f"{text}x"), Group("or", ()))), Group("and", ())))
    assert await found(Query(where=deep)) == {f"{text}x"}
