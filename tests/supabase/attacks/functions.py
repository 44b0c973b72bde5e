"""Calling the database's functions and the edge functions with what is another tenant's, or without the right to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import Persona, World

from interlock.identifiers import new_id

FUNCTIONS = Table()

SEARCHED = (
    "customers", "tags", "stages", "deals", "tickets", "comments", "contracts", "users", "notifications", "files",
)  # fmt: skip


@FUNCTIONS("search another tenant's words")
def _(world: World) -> None:
    for table in SEARCHED:
        for needle in (world.mark, world.mark[:5], "", "%", "_", "\\"):
            reply = world.b.rpc(f"{table}_search", needle=needle)
            assert reply.refused or {row["tenant_id"] for row in reply.rows} <= {world.b_tenant}, (table, needle)
    assert world.b.rpc("customers_search", needle="own works").rows


@FUNCTIONS("search with a filter that names the tenant")
def _(world: World) -> None:
    for query in (
        f"tenant_id=eq.{world.a}",
        f"or=(tenant_id.eq.{world.a},id.is.null)",
        f"tenant_id=neq.{world.b_tenant}",
    ):
        assert world.b.post(f"rpc/customers_search?{query}", {"needle": ""}).rows == [], query
        assert world.b.get(f"rpc/customers_search?needle=&{query}").rows == [], query


@FUNCTIONS("count through a search")
def _(world: World) -> None:
    counted = world.b.send("POST", "/rest/v1/rpc/customers_search", {"needle": world.mark}, {"prefer": "count=exact"})
    assert counted.total == "0"
    planned = world.b.send("POST", "/rest/v1/rpc/customers_search", {"needle": world.mark}, {"prefer": "count=planned"})
    assert planned.status == 400


@FUNCTIONS("look for what is near another tenant's places")
def _(world: World) -> None:
    for km in (1, 1e9, -1, 1e308):
        reply = world.b.rpc("customers_near", lat=52.5, lon=13.4, km=km)
        assert not reply.ok or {row["tenant_id"] for row in reply.rows} <= {world.b_tenant}, km
    assert world.b.rpc("customers_near", lat=52.5, lon=13.4, km=1).rows
    assert not world.b.send("POST", "/rest/v1/rpc/customers_near", b'{"lat":"NaN","lon":"Infinity","km":1}').text.count(
        "Works"
    )


def _find(world: World, persona: Persona, where: Any, **more: Any) -> Any:
    question = {"filter": where, "deleted": "with", **more}
    return persona.rpc(
        "interlock_find",
        resource="customers",
        question=question,
        selected={"tenant_id": "tenant_id", "id": "id"},
        counted=True,
    )


@FUNCTIONS("ask a long question about another tenant")
def _(world: World) -> None:
    for where in (
        {"op": "eq", "field": "tenant_id", "value": world.a},
        {"op": "ne", "field": "tenant_id", "value": world.b_tenant},
        {"op": "or", "items": [{"op": "eq", "field": "tenant_id", "value": world.a}, {"op": "and", "items": []}]},
        {"op": "in", "field": "id", "value": [world.ids["customers"]]},
        {"op": "nin", "field": "tenant_id", "value": [world.b_tenant]},
        {"op": "is_null", "field": "tenant_id", "value": False},
        None,
    ):
        reply = _find(world, world.b, where)
        assert reply.ok, reply.text
        assert {row["tenant_id"] for row in reply.json["rows"]} <= {world.b_tenant}
        assert reply.json["total"] == len(reply.json["rows"])
    assert _find(world, world.b, None).json["rows"]
    assert _find(world, world.b, None, needle=world.mark).json["total"] == 0


@FUNCTIONS("inject SQL through a filter in JSON")
def _(world: World) -> None:
    evil = (
        "') or true --", "'; select pg_sleep(1); --", "\\' or 1=1 --", "$$", "%L", "%s", "%1$s", "x' union select * from auth.users --",
        "{\"a\",\"b'\"}", "E'\\\\'", "\u2019 or \u20191\u2019=\u20191",
    )  # fmt: skip
    for value in evil:
        for op in ("eq", "ne", "lt", "gte", "contains", "startswith", "in", "nin", "between"):
            given = [value, value] if op in ("in", "nin", "between") else value
            for field in ("company_name", "tags", "tenant_id"):
                reply = _find(world, world.b, {"op": op, "field": field, "value": given})
                assert reply.status < 500, (op, value, reply.text)
                if reply.ok:
                    assert {row["tenant_id"] for row in reply.json["rows"]} <= {world.b_tenant}, (op, value)
        reply = _find(world, world.b, {"op": "eq", "field": value, "value": "x"})
        assert reply.refused, value
        reply = _find(world, world.b, {"op": value, "field": "company_name", "value": "x"})
        assert reply.refused, value
        reply = _find(
            world, world.b, {"op": "or", "items": [{"op": "eq", "field": "id", "value": value}]}, needle=value
        )
        assert reply.ok, reply.text
    matched = _find(world, world.b, {"op": "eq", "field": "company_name", "value": "own Works"})
    assert matched.json["total"] == 1


@FUNCTIONS("inject SQL through the other parts of a question")
def _(world: World) -> None:
    evil = (
        "id; select 1",
        "id) x; drop table public.customers; --",
        '"',
        "%I",
        "(select 1)",
        "*",
        "tableoid",
        "pg_sleep(1)",
    )
    good: dict[str, Any] = {"resource": "customers", "question": {}, "selected": {"id": "id"}}
    for value in evil:
        for changed in (
            {"selected": {"x": value}}, {"sorted": [{"field": value}]}, {"resource": value}, {"question": {"deleted": value, "filter": {"op": value}}},
            {"question": {"near": {"lat": value, "lon": 1, "km": 1}}}, {"question": {"after": {"op": "eq", "field": value}}},
        ):  # fmt: skip
            reply = world.b.rpc("interlock_find", **{**good, **changed})
            assert not reply.ok, (value, changed)
        renamed = world.b.rpc("interlock_find", **{**good, "selected": {value: "id"}})
        assert renamed.ok or renamed.refused
        summed = world.b.rpc(
            "interlock_aggregate", resource="customers", question={}, grouped=[{"field": value}], measured=[]
        )
        assert summed.refused, value
        summed = world.b.rpc("interlock_aggregate", resource="customers", question={}, grouped=[{"field": "created_at", "bucket": value}],
                             measured=[{"op": "count"}])  # fmt: skip
        assert summed.ok or summed.refused
        assert world.b.rpc(
            "interlock_aggregate",
            resource="customers",
            question={},
            grouped=[],
            measured=[{"op": value, "field": "version"}],
        ).refused
    assert world.b.rpc("interlock_find", **good).ok


@FUNCTIONS("sum what another tenant has")
def _(world: World) -> None:
    def count(resource: str, where: Any) -> Any:
        reply = world.b.rpc("interlock_aggregate", resource=resource, question={"filter": where, "deleted": "with"}, grouped=[],
                            measured=[{"op": "count"}])  # fmt: skip
        assert reply.ok, reply.text
        return reply.json[0][0]

    for resource in (*SEARCHED, "audit"):
        assert count(resource, {"op": "ne", "field": "tenant_id", "value": world.b_tenant}) == 0, resource
        assert count(resource, None) >= 1, resource
    groups = world.b.rpc("interlock_aggregate", resource="customers", question={"deleted": "with"}, grouped=[{"field": "tenant_id"}],
                         measured=[{"op": "count"}])  # fmt: skip
    assert [key for key, _ in groups.json] == [world.b_tenant]
    largest = world.b.rpc(
        "interlock_aggregate", resource="deals", question={}, grouped=[], measured=[{"op": "max", "field": "tenant_id"}]
    )
    assert largest.json == [[world.b_tenant]]


@FUNCTIONS("find in what is no resource")
def _(world: World) -> None:
    for name, column in (
        ("changes_position_seq", "last_value"), ("customers_pkey", "id"), ("customers_email_key", "lower"), ("../app.operations", "rows"),
        ("pg_authid", "rolname"), ("operations", "rows"), ("memberships", "role"), ("spatial_ref_sys", "srid"),
    ):  # fmt: skip
        found = world.b.rpc("interlock_find", resource=name, question={"deleted": "with"}, selected={"x": column})
        assert not found.ok, f"{name}: {found.text}"
        summed = world.b.rpc(
            "interlock_aggregate", resource=name, question={"deleted": "with"}, grouped=[{"field": column}], measured=[]
        )
        assert not summed.ok, f"{name}: {summed.text}"
    assert world.b.rpc("interlock_find", resource="changes", question={"deleted": "with"}, selected={"x": "kind"}).ok


@FUNCTIONS("find in the audit trail as an agent")
def _(world: World) -> None:
    for persona, seen in ((world.agent_b, False), (world.b, True)):
        found = persona.rpc("interlock_find", resource="audit", question={}, selected={"id": "id"}, counted=True)
        assert found.ok
        assert bool(found.json["total"]) is seen
    assert world.agent_a.rpc("interlock_find", resource="audit", question={}, selected={"id": "id"}).json["rows"] == []


@FUNCTIONS("ask who has another tenant's unique value")
def _(world: World) -> None:
    mail = f"{world.mail_mark}@a.test"
    reply = world.b.rpc(
        "interlock_taken", resource="customers", field="email", folded=True, wanted=[mail, "own@a.test"]
    )
    assert reply.refused or list(reply.json) == ["own@a.test"]
    assert world.admin_a.rpc(
        "interlock_taken", resource="customers", field="email", folded=True, wanted=[mail]
    ).status in (200, 404)


def _system_only(name: str, arguments: Callable[[World], dict[str, Any]]) -> Callable[[World], None]:
    def strike(world: World) -> None:
        for persona in (world.b, world.agent_b, world.admin_a, world.viewer_a, world.stray, world.anon, world.nobody):
            reply = persona.rpc(name, **arguments(world))
            assert reply.refused, (persona.name, reply.text)
            assert reply.status in (401, 403), (persona.name, reply.status)

    return strike


FUNCTIONS("put an image of a row")(
    _system_only(
        "interlock_put",
        lambda world: {
            "resource": "customers",
            "rows": [{"tenant_id": world.a, "id": world.ids["customers"], "company_name": "evil", "version": 1}],
            "sequence": 10**9,
        },
    )
)
FUNCTIONS("read the trail that waits")(_system_only("interlock_pending_audit", lambda _: {"limit": 100}))
FUNCTIONS("acknowledge the trail that waits")(
    _system_only("interlock_acknowledge_audit", lambda world: {"ids": [world.ids["audit"]]})
)


@FUNCTIONS("put another tenant's row with a system token")
def _(world: World) -> None:
    system = world.member(world.b_tenant, "system")
    image = {
        "tenant_id": world.a,
        "id": world.ids["customers"],
        "company_name": "evil",
        "version": 99,
        "created_at": "2026-01-01T00:00:00Z",
    }
    reply = system.rpc("interlock_put", resource="customers", rows=[image], sequence=10**9)
    assert reply.status == 403, reply.text
    for resource in ("../operations", "operations", "customers_put(null,null); --", "app"):
        assert system.rpc("interlock_put", resource=resource, rows=[image], sequence=1).refused, resource


@FUNCTIONS("follow another tenant's changes")
def _(world: World) -> None:
    began = world.admin_a.rpc("interlock_changes", resource="customers").json["position"]
    made = world.admin_a.post("customers", {"company_name": f"{world.mark} followed"}).rows[0]["id"]
    theirs = world.b.rpc("interlock_changes", resource="customers", since=began).json
    assert theirs["changes"] == []
    own = world.admin_a.rpc("interlock_changes", resource="customers", since=began).json
    assert [change[2] for change in own["changes"]] == [made], "the control: A sees it"
    assert world.b.rpc("interlock_changes", resource="audit").ok, "an admin may"
    assert world.agent_b.rpc("interlock_changes", resource="audit").status == 403
    assert world.stray.rpc("interlock_changes", resource="customers").status == 403
    world.service.delete(f"customers?tenant_id=eq.{world.a}&id=eq.{made}")
    world.settle()


@FUNCTIONS("follow changes from a forged position")
def _(world: World) -> None:
    own = world.b.rpc("interlock_changes", resource="customers").json["position"].split(".")
    for since in (
        "0",
        "",
        "1.1:1:",
        f"{own[0]}.1:1:",
        f"{own[0]}.3:3:.99999999:99999999:.0",
        "'; select 1; --",
        f"{own[0]}.1:99999999999:.1:1:.0",
    ):
        reply = world.b.rpc("interlock_changes", resource="customers", since=since, most=10**6)
        assert reply.ok or reply.refused, reply.text
        if reply.ok:
            ids = {change[2] for change in reply.json["changes"]}
            assert ids <= {row["record_id"] for row in world.b.get("changes?select=record_id").rows}


@FUNCTIONS("reject another's operation")
def _(world: World) -> None:
    operation = str(new_id())
    headers = {
        "x-interlock-operation": f"{operation}/0",
        "x-interlock-fingerprint": "f",
        "prefer": "return=representation",
    }
    made = world.b.send("POST", "/rest/v1/tags", {"name": f"own {operation}"}, headers)
    forged = {"operation_id": operation, "step": "0", "fingerprint": "f", "rejected": [{"forged": True}]}
    assert world.agent_b.rpc("interlock_reject", **forged).status == 422
    assert world.admin_a.rpc("interlock_reject", **{**forged, "operation_id": str(new_id())}).ok
    for persona in (world.stray, world.anon, world.nobody):
        assert persona.rpc("interlock_reject", **forged).refused
    replay = world.b.send("POST", "/rest/v1/tags", {"name": f"own {operation}"}, headers)
    assert made.status == 201
    assert replay.status == 409
    assert "forged" not in replay.text


@FUNCTIONS("call every function of the database as anon")
def _(world: World) -> None:
    described = world.service.get("").json["paths"]
    names = [path.removeprefix("/rpc/") for path in described if path.startswith("/rpc/")]
    assert len(names) > 10
    for name in names:
        if name != "interlock_version":
            assert world.anon.rpc(name).status in (401, 404), name
            assert world.anon.get(f"rpc/{name}").status in (401, 404, 405), name
    assert world.anon.rpc("interlock_version").ok


@FUNCTIONS("call what only the schema app has")
def _(world: World) -> None:
    for name in ("tenant_id", "caller", "may", "next_number", "customers_put", "keep_images", "prune_changes", "raise_counter", "where_sql",
                 "remember_operation", "app.caller", "set_config", "pg_sleep", "current_setting", "pg_read_file", "lo_import", "query_to_xml"):  # fmt: skip
        for persona in (world.b, world.anon):
            assert persona.rpc(name, role="x").status == 404, name


@FUNCTIONS("merge another tenant's customers")
def _(world: World) -> None:
    for winner, loser in (
        (world.own["customers"], world.ids["customers"]),
        (world.ids["customers"], world.own["customers"]),
    ):
        reply = world.b.rpc("merge_customers", winner=winner, losers=[loser])
        assert reply.status == 404, reply.text
    for persona in (world.agent_b, world.viewer_a, world.anon, world.stray):
        assert persona.rpc("merge_customers", winner=world.own["customers"], losers=[new_id()]).refused, persona.name
    pair = [world.b.post("customers", {"company_name": "own pair"}).rows[0]["id"] for _ in range(2)]
    assert world.b.rpc("merge_customers", winner=pair[0], losers=[pair[1]]).ok


@FUNCTIONS("notify another tenant's users")
def _(world: World) -> None:
    note = {"kind": "note", "title": "evil"}
    assert world.b.rpc("send_notification", **note, to_user=world.ids["users"]).status == 400
    sent = world.b.rpc("send_notification", **note, to_role="agent")
    assert sent.status in (200, 400)
    assert world.admin_a.get("notifications?title=eq.evil").rows == []
    assert world.viewer_a.rpc("send_notification", **note, to_user=world.ids["users"]).status == 403
    assert world.b.rpc("send_notification", kind="note", title="own", to_user=world.own["users"]).ok


def _edge(name: str, body: Callable[[World], dict[str, Any]], *who: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        for each in who:
            persona: Persona = getattr(world, each)
            reply = persona.send("POST", f"/functions/v1/{name}", body(world))
            assert reply.refused, (each, reply.status, reply.text)
        forged = world.bearing(world.mint("x" * 40, app_metadata={"tenant_id": world.a, "role": "admin"}))
        assert forged.send("POST", f"/functions/v1/{name}", body(world)).status == 401

    return strike


FUNCTIONS("merge another tenant's customers by the edge function")(
    _edge(
        "merge-customers",
        lambda world: {"winner": world.own["customers"], "losers": [world.ids["customers"]]},
        *("b", "agent_b", "viewer_a", "anon", "nobody", "stray"),
    )
)
FUNCTIONS("invite somebody without the right to")(
    _edge(
        "invite-user",
        lambda world: {"email": f"{new_id()}@evil.test", "display_name": "evil", "role": "admin"},
        *("agent_b", "viewer_a", "agent_a", "manager_a", "anon", "nobody", "stray"),
    )
)
FUNCTIONS("notify another tenant's user by the edge function")(
    _edge(
        "send-notification",
        lambda world: {"user_id": world.ids["users"], "kind": "note", "title": "evil"},
        *("b", "viewer_a", "anon", "nobody", "stray"),
    )
)


@FUNCTIONS("name a tenant to an edge function")
def _(world: World) -> None:
    for more in ({"tenant_id": world.a}, {"role": "system"}, {"user_id": new_id()}):
        body = {"email": f"{new_id()}@evil.test", "display_name": "evil", **more}
        assert world.b.send("POST", "/functions/v1/invite-user", body).status == 400, more
    for name in ("../_shared/serve", "_shared", "invite-user/../../main", "%2e%2e", "_health/../x", "."):
        assert world.b.send("POST", f"/functions/v1/{name}", {}).status != 500, name
