"""Reading what is another tenant's: rows, ids, joins, counts, orders, errors."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import TABLES, World

from interlock.identifiers import new_id

READS = Table()


def _every_table(table: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        rows = world.b.get(f"{table}?select=*").rows
        assert rows, "the control: B sees their own"
        assert {row["tenant_id"] for row in rows} == {world.b_tenant}

    return strike


def _anon_table(table: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        assert world.anon.get(f"{table}?select=*").status == 401
        assert world.anon.get(f"{table}?select=tenant_id&limit=0").status == 401
        assert world.b.get(f"{table}?select=*&limit=1").ok

    return strike


for _table in TABLES:
    READS(f"read every row of {_table}")(_every_table(_table))
for _table in TABLES:
    READS(f"read {_table} as anon")(_anon_table(_table))


@READS("read a row by its guessed id")
def _(world: World) -> None:
    for table in world.ids:
        if table != "changes":
            assert world.b.get(f"{table}?id=eq.{world.ids[table]}").rows == [], table
            assert len(world.b.get(f"{table}?id=eq.{world.own[table]}").rows) == 1, table


@READS("read a row as a single object")
def _(world: World) -> None:
    accept = "application/vnd.pgrst.object+json"
    theirs = world.b.get(f"customers?id=eq.{world.ids['customers']}", accept=accept)
    nowhere = world.b.get(f"customers?id=eq.{new_id()}", accept=accept)
    assert theirs.status == nowhere.status == 406
    assert theirs.text == nowhere.text, "another tenant's id answers otherwise than one that is nowhere"
    assert world.b.get(f"customers?id=eq.{world.own['customers']}", accept=accept).ok


@READS("name the tenant in the filter")
def _(world: World) -> None:
    assert world.b.get(f"customers?tenant_id=eq.{world.a}").rows == []
    assert world.b.get(f"customers?tenant_id=in.({world.a},{world.b_tenant})&tenant_id=neq.{world.b_tenant}").rows == []
    assert world.b.get(f"customers?tenant_id=eq.{world.b_tenant}").rows


@READS("negate the tenant's own condition")
def _(world: World) -> None:
    for query in (
        f"tenant_id=neq.{world.b_tenant}",
        f"tenant_id=not.eq.{world.b_tenant}",
        f"not.and=(tenant_id.eq.{world.b_tenant})",
    ):
        assert world.b.get(f"customers?{query}").rows == [], query
    assert world.b.get("customers?tenant_id=not.is.null").rows


@READS("widen the filter by or")
def _(world: World) -> None:
    queries = (
        f"or=(tenant_id.eq.{world.a},id.not.is.null)",
        "or=(id.is.null,id.not.is.null)",
        "tenant_id=like.*",
        "tenant_id=match..*",
    )
    for query in queries:
        assert {row["tenant_id"] for row in world.b.get(f"customers?{query}").rows} == {world.b_tenant}, query


@READS("embed customers in customers")
def _(world: World) -> None:
    for select in ("*,customers(*)", "*,deals(*)", "*,users!inner(*)", "*,changes(*)", "*,audit(*)"):
        assert world.b.get(f"customers?select={select}").refused, select
    assert world.b.get("customers?select=*").ok


@READS("embed from each table into each other")
def _(world: World) -> None:
    for table in TABLES:
        for other in TABLES:
            reply = world.b.get(f"{table}?select=*,other:{other}(tenant_id)&limit=3")
            if reply.ok:
                assert all(json.dumps(row).count(world.a) == 0 for row in reply.rows), (table, other)
    assert world.b.get("deals?select=*").rows


@READS("spread and aggregate over everybody")
def _(world: World) -> None:
    for select in (
        "count()",
        "company_name.max()",
        "tenant_id,count()",
        "...customers(id)",
        "id.count()",
        "version.sum()",
    ):
        reply = world.b.get(f"customers?select={select}")
        assert reply.refused or all(
            str(row).count(world.a) == 0 and row.get("count") in (None, 6) for row in reply.rows
        ), select
    assert world.b.get("customers?select=id").rows


@READS("count the others' rows exactly")
def _(world: World) -> None:
    everything = world.b.send("HEAD", "/rest/v1/customers", headers={"prefer": "count=exact"})
    theirs = world.b.send("HEAD", f"/rest/v1/customers?tenant_id=eq.{world.a}", headers={"prefer": "count=exact"})
    own = world.service.send(
        "HEAD", f"/rest/v1/customers?tenant_id=eq.{world.b_tenant}", headers={"prefer": "count=exact"}
    )
    assert everything.total == own.total != "0"
    assert theirs.total == "0"


def _estimate(kind: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        world.analyze()
        queries = (
            f"tenant_id=eq.{world.a}",
            f"city=eq.{world.mark}ville",
            f"or=(tenant_id.eq.{world.a},tenant_id.eq.{world.b_tenant})",
        )
        for query in queries:
            reply = world.b.send("GET", f"/rest/v1/customers?select=id&{query}", headers={"prefer": f"count={kind}"})
            told = reply.total if reply.ok else "*"
            assert told in ("", "*"), f"{query}: the planner's statistics, of all tenants, tell {told}"
        assert world.b.get("customers?select=id", prefer="count=exact").total not in ("", "*", "0")

    return strike


READS("count the others' rows by the planner")(_estimate("planned"))
READS("count the others' rows by an estimate")(_estimate("estimated"))


@READS("ask for the planner's count behind another preference")
def _(world: World) -> None:
    for prefer in (
        "return=minimal, count=planned",
        "count=planned,count=exact",
        "Count=planned",
        "count = planned",
        "count=exact, count=planned",
    ):
        reply = world.b.get(f"customers?select=id&tenant_id=eq.{world.a}", prefer=prefer)
        assert not reply.ok or reply.total in ("", "*", "0"), prefer
    assert world.b.get("customers?select=id", prefer="handling=lenient, count=exact").ok


@READS("read the plan of a query")
def _(world: World) -> None:
    for accept in (
        "application/vnd.pgrst.plan",
        "application/vnd.pgrst.plan+json",
        "application/vnd.pgrst.plan+text; options=analyze|verbose|buffers",
    ):
        reply = world.b.get(f"customers?tenant_id=eq.{world.a}", accept=accept)
        assert reply.refused, reply
        assert "rows=" not in reply.text
        assert "Plan" not in reply.text
    assert world.b.get("customers?limit=1", accept="application/json").ok


@READS("page past one's own rows")
def _(world: World) -> None:
    for query in ("limit=1000&offset=6", "order=tenant_id&offset=6", "order=company_name.desc&limit=1000"):
        rows = world.b.get(f"customers?{query}").rows
        assert {row["tenant_id"] for row in rows} <= {world.b_tenant}, query
    ranged = world.b.get("customers", range="0-100000", range_unit="items")
    assert {row["tenant_id"] for row in ranged.rows} == {world.b_tenant}


@READS("learn of values by the order of one's own rows")
def _(world: World) -> None:
    for order in ("tenant_id", "company_name.desc.nullsfirst", "email.asc", "search_text", "customers(id)"):
        reply = world.b.get(f"customers?select=tenant_id&order={order}")
        assert reply.refused or {row["tenant_id"] for row in reply.rows} == {world.b_tenant}, order
    assert len(world.b.get("customers?select=id&order=id").rows) == 6


@READS("make the others' values fail a cast")
def _(world: World) -> None:
    for query in (
        "select=company_name::int",
        "select=id::uuid,notes::date",
        "select=notes::jsonb",
        "company_name=gt.1&select=city::numeric",
    ):
        reply = world.b.get(f"customers?tenant_id=eq.{world.a}&{query}")
        assert reply.refused or reply.rows == [], query
    own = world.b.get("customers?select=company_name::int")
    assert own.refused, "the control: a cast of one's own text does fail, and names it"
    assert "own" in own.text


@READS("make the others' values fail an operator")
def _(world: World) -> None:
    queries = (
        "notes=match.(",
        "company_name=imatch.[",
        "tags=cs.{",
        "location=eq.x",
        "search_text=match.**",
        "notes=fts(nolanguage).x",
    )
    for query in queries:
        reply = world.b.get(f"customers?{query}")
        assert not reply.ok or {row["tenant_id"] for row in reply.rows} <= {world.b_tenant}, query
    assert world.b.get("customers?notes=match.own").rows


@READS("search through the generated column")
def _(world: World) -> None:
    assert world.b.get(f"customers?search_text=like.*{world.mark[:6]}*").rows == []
    assert world.b.get("customers?search_text=like.*own*").rows


@READS("read the audit trail of another tenant by record")
def _(world: World) -> None:
    assert world.b.get(f"audit?record_id=eq.{world.ids['customers']}").rows == []
    assert world.b.get(f"audit?after=like.*{world.ids['customers']}*").rows == []
    assert world.b.get(f"audit?record_id=eq.{world.own['customers']}").rows


def _reads_audit(role: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        persona = world.member(world.a, role, watched=False)
        for query in ("audit", f"audit?id=eq.{world.ids['audit']}", "audit?select=count", "changes?resource=eq.audit"):
            reply = persona.get(query)
            assert reply.refused or reply.rows in ([], [{"count": 0}]), query
        assert persona.rpc("audit_search", needle="").rows == []
        assert persona.get("customers?limit=1").rows
        assert world.manager_a.get("audit?limit=1").rows

    return strike


READS("read the own tenant's audit trail as a viewer")(_reads_audit("viewer"))
READS("read the own tenant's audit trail as an agent")(_reads_audit("agent"))


@READS("read the log of changes of another tenant")
def _(world: World) -> None:
    assert world.b.get(f"changes?record_id=eq.{world.ids['customers']}").rows == []
    assert world.b.get(f"changes?tenant_id=eq.{world.a}&position=gte.0").rows == []
    assert world.b.get(f"changes?record_id=eq.{world.own['customers']}").rows


@READS("read deleted rows of another tenant")
def _(world: World) -> None:
    for query in ("deleted_at=not.is.null", "or=(deleted_at.is.null,deleted_at.not.is.null)"):
        assert {row["tenant_id"] for row in world.b.get(f"customers?{query}").rows} <= {world.b_tenant}
    assert world.b.get("customers?deleted_at=is.null").rows


def _schema(name: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        tables = (
            "memberships",
            "operations",
            "counters",
            "users",
            "objects",
            "buckets",
            "pg_authid",
            "pg_stats",
            "tables",
            "customers",
            "",
        )
        for table in tables:
            assert world.b.get(table, accept_profile=name).status == 406, table
            assert world.anon.get(table, accept_profile=name).status == 406, table
            assert world.b.post(table, {"id": "x"}, content_profile=name).status == 406, table
        assert world.b.send("POST", "/rest/v1/rpc/tenant_id", {}, {"content-profile": name}).status == 406
        assert world.b.get("customers?limit=1", accept_profile="public").ok

    return strike


for _name in (
    "app",
    "auth",
    "storage",
    "extensions",
    "pg_catalog",
    "information_schema",
    "supabase_migrations",
    "vault",
    "realtime",
    "App",
):
    READS(f"reach into the schema {_name}")(_schema(_name))


@READS("name a schema in the path")
def _(world: World) -> None:
    for path in (
        "app.memberships",
        "auth.users",
        "app%2Eoperations",
        "pg_catalog.pg_stats",
        "..%2fauth",
        "rpc/app.tenant_id",
        "rpc/../app.caller",
    ):
        assert world.b.get(path).refused, path
        assert world.anon.get(path).refused, path
    assert world.b.get("users?limit=1").ok


@READS("read the tables' description as anon")
def _(world: World) -> None:
    described = world.anon.get("")
    assert described.status in (200, 401, 404)
    if described.ok:
        paths = set(described.json["paths"])
        assert paths <= {"/", "/rpc/interlock_version"}, f"anon is told of {sorted(paths)[:5]}"
    assert "/customers" in world.b.get("").text


@READS("select what is not granted")
def _(world: World) -> None:
    for select in (
        "*,tableoid",
        "ctid",
        "xmin",
        "tableoid::regclass",
        "customers",
        "customers::text",
        "pg_sleep(1)",
        "current_user",
    ):
        reply = world.b.get(f"customers?select={select}&tenant_id=eq.{world.a}")
        assert reply.refused or reply.rows == [], select
    assert world.b.get("customers?select=id").ok


@READS("inject SQL through a filter's value")
def _(world: World) -> None:
    values = (
        "' or '1'='1",
        "x'); drop table customers; --",
        '" or true --',
        "1; select * from auth.users",
        "$1",
        "\\'; --",
        "%00",
        "*",
    )
    for column in ("company_name", "id", "tenant_id", "email"):
        for value in values:
            for operator in ("eq", "like", "ilike", "in", "match", "neq"):
                sent = f"({value})" if operator == "in" else value
                reply = world.b.get(
                    f"customers?select=tenant_id&{column}={operator}.{sent.replace('#', '%23').replace('&', '%26')}"
                )
                assert reply.status != 500, (column, operator, value, reply.text)
                assert reply.refused or {row["tenant_id"] for row in reply.rows} <= {world.b_tenant}, (
                    column,
                    operator,
                    value,
                )
    assert len(world.b.get("customers?company_name=eq.own Works").rows) == 1


@READS("inject SQL through a column, an order and a select")
def _(world: World) -> None:
    bad = (
        "id;select 1",
        "id) or (1=1",
        'id" or 1=1 --',
        "id,(select email from auth.users)",
        "(select 1)",
        "id/**/",
        "id'",
    )
    for value in bad:
        for query in (
            f"select={value}",
            f"order={value}",
            f"{value}=eq.1",
            f"or=({value}.eq.1)",
            f"on_conflict={value}",
        ):
            reply = world.b.get(f"customers?{query}")
            assert reply.status < 500, (query, reply.text)
            assert reply.refused or {row.get("tenant_id", world.b_tenant) for row in reply.rows} <= {world.b_tenant}, (
                query
            )
    assert world.b.get("customers?select=id&order=id").ok


@READS("read as csv, geojson and raw bytes")
def _(world: World) -> None:
    for accept in ("text/csv", "application/geo+json", "application/octet-stream", "text/plain", "text/xml"):
        reply = world.b.get(f"customers?tenant_id=eq.{world.a}", accept=accept)
        assert not reply.ok or "Works" not in reply.text, accept
    assert "own Works" in world.b.get("customers", accept="text/csv").text


@READS("read with a token of no tenant")
def _(world: World) -> None:
    for table in TABLES:
        reply = world.stray.get(table)
        assert reply.refused or reply.rows == [], table
    assert world.stray.rpc("customers_search", needle="").rows == []
    assert world.b.get("customers?limit=1").rows


@READS("read without any key")
def _(world: World) -> None:
    for path in ("/rest/v1/customers", "/rest/v1/", "/storage/v1/bucket", "/auth/v1/user", "/auth/v1/admin/users"):
        assert world.nobody.send("GET", path).status == 401, path
    assert world.anon.send("GET", "/auth/v1/settings").status < 500


@READS("read with the official client")
def _(world: World) -> None:
    client = world.b.client
    assert client.table("customers").select("*").eq("tenant_id", world.a).execute().data == []
    assert client.table("customers").select("*").in_("id", [world.ids["customers"]]).execute().data == []
    counted = client.table("customers").select("*", count="exact").execute()  # type: ignore[arg-type]  # the client takes the word
    assert counted.count == len(counted.data) == 6
    assert (
        client.table("customers")
        .select("*")
        .or_(f"tenant_id.eq.{world.a},company_name.ilike.*")
        .neq("tenant_id", world.b_tenant)
        .execute()
        .data
        == []
    )


@READS("tell an id of another tenant from one that is nowhere")
def _(world: World) -> None:
    def told(id: str) -> list[object]:
        replies = (
            world.b.get(f"customers?id=eq.{id}", prefer="count=exact"),
            world.b.patch(f"customers?id=eq.{id}", {"notes": "x"}),
            world.b.patch(f"customers?id=eq.{id}", {"deleted_at": "now"}),
            world.b.delete(f"customers?id=eq.{id}"),
        )
        return [(reply.status, reply.text.replace(id, ""), reply.total) for reply in replies]

    assert told(world.ids["customers"]) == told(new_id())
