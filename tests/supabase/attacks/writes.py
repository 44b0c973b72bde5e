"""Writing what is another tenant's, moving rows between tenants, and forging what the database owns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from postgrest.exceptions import APIError
from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import Persona, World

from interlock.identifiers import new_id

WRITES = Table()

FORGED: dict[str, Any] = {
    "tenant_id": "",
    "created_by": "somebody-else",
    "updated_by": "somebody-else",
    "version": 99,
    "created_at": "2001-01-01T00:00:00Z",
    "updated_at": "2001-01-01T00:00:00Z",
}
WRITABLE = {
    "customers": {"notes": "evil"},
    "tags": {"name": "evil"},
    "stages": {"label": "evil"},
    "deals": {"title": "evil"},
    "tickets": {"subject": "evil"},
    "comments": {"body": "evil"},
    "contracts": {"title": "evil"},
    "users": {"role": "admin"},
    "notifications": {"title": "evil"},
    "files": {"name": "evil"},
}


def _own_customer(world: World) -> str:
    reply = world.b.post("customers", {"company_name": "own, for a strike"})
    assert reply.status == 201, reply.text
    return str(reply.rows[0]["id"])


def _change(table: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        for query in (f"id=eq.{world.ids[table]}", f"tenant_id=eq.{world.a}", f"tenant_id=neq.{world.b_tenant}"):
            assert world.b.patch(f"{table}?{query}", WRITABLE[table]).rows == [], query
            assert world.b.patch(f"{table}?{query}", {"deleted_at": "now"}).rows == [], query
        changed = world.b.patch(f"{table}?id=eq.{world.own[table]}", WRITABLE[table])
        assert len(changed.rows) == 1, "the control: B changes their own"

    return strike


for _table in WRITABLE:
    WRITES(f"change another tenant's {_table}")(_change(_table))


@WRITES("change every row there is")
def _(world: World) -> None:
    rows = world.b.patch("tags?id=not.is.null", {"color": "#123456"}).rows
    assert {row["tenant_id"] for row in rows} == {world.b_tenant}
    assert world.b.patch("customers", {"notes": "no filter"}).status in (200, 400)


@WRITES("delete another tenant's rows for good")
def _(world: World) -> None:
    for table in (*WRITABLE, "audit", "changes"):
        for query in (f"tenant_id=eq.{world.a}", "tenant_id=not.is.null"):
            reply = world.b.delete(f"{table}?{query}")
            assert reply.status == 403, (table, reply.text)
    assert world.b.patch(f"customers?id=eq.{_own_customer(world)}", {"deleted_at": "now"}).rows[0]["deleted_at"]


@WRITES("delete one's own rows for good")
def _(world: World) -> None:
    mine = _own_customer(world)
    assert world.b.delete(f"customers?id=eq.{mine}").status == 403
    assert world.b.get(f"customers?id=eq.{mine}").rows


def _as_viewer(world: World) -> None:
    viewer, customer = world.viewer_a, world.ids["customers"]
    assert viewer.post("customers", {"company_name": "evil"}).status == 403
    assert viewer.patch(f"customers?id=eq.{customer}", {"notes": "evil"}).rows == []
    assert viewer.patch(f"customers?id=eq.{customer}", {"deleted_at": "now"}).rows == []
    assert viewer.delete(f"customers?id=eq.{customer}").status == 403
    assert viewer.get(f"customers?id=eq.{customer}").rows


def _manager_writes(world: World) -> None:
    made = world.manager_a.post("customers", {"company_name": f"{world.mark} by the manager"}).rows[0]
    assert world.manager_a.patch(f"customers?id=eq.{made['id']}", {"notes": world.mark}).rows[0]["version"] == 2
    assert world.manager_a.patch(f"customers?id=eq.{made['id']}", {"deleted_at": "now"}).rows[0]["deleted_at"]
    assert world.manager_a.patch(f"customers?id=eq.{made['id']}", {"deleted_at": None}).rows[0]["deleted_at"] is None


WRITES("write as a viewer", control=_manager_writes)(_as_viewer)


@WRITES("delete and restore as an agent", control=_manager_writes)
def _(world: World) -> None:
    customer = world.ids["customers"]
    assert world.agent_a.patch(f"customers?id=eq.{customer}", {"deleted_at": "now"}).status == 403
    assert world.agent_a.patch(f"customers?id=eq.{customer}", {"deleted_at": "2001-01-01"}).status == 403
    assert world.agent_a.delete(f"customers?id=eq.{customer}").status == 403


def _admin_keeps_users(world: World) -> None:
    user = world.ids["users"]
    assert world.admin_a.patch(f"users?id=eq.{user}", {"role": "manager"}).rows[0]["role"] == "manager"
    assert world.admin_a.patch(f"users?id=eq.{user}", {"role": "agent"}).rows[0]["role"] == "agent"


def _makes_itself_admin(role: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        persona = world.member(world.a, role, watched=False)
        assert persona.patch(f"users?id=eq.{world.ids['users']}", {"role": "admin"}).rows == []
        made = persona.post(
            "users", {"id": persona.user_id, "email": f"{new_id()}@a.test", "display_name": "x", "role": "admin"}
        )
        assert made.status == 403
        assert persona.get("users?limit=1").rows

    return strike


for _role in ("viewer", "agent", "manager"):
    WRITES(f"make oneself admin as a {_role}", control=_admin_keeps_users)(_makes_itself_admin(_role))


@WRITES("give a user the role system")
def _(world: World) -> None:
    for role in ("system", "service_role", "postgres", "Admin", ""):
        made = world.b.post("users", {"email": f"{new_id()}@b.test", "display_name": "x", "role": role})
        assert made.status == 400, (role, made.text)
        assert world.b.patch(f"users?id=eq.{world.own['users']}", {"role": role}).status == 400, role
    assert world.b.patch(f"users?id=eq.{world.own['users']}", {"display_name": "as it may be"}).rows


def _forge(column: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        value = world.a if column == "tenant_id" else FORGED[column]
        mine = _own_customer(world)
        made = world.b.post("customers", {"company_name": "forged", column: value})
        changed = world.b.patch(f"customers?id=eq.{mine}", {"notes": "forged", column: value})
        put = world.b.post("customers?on_conflict=tenant_id,id", {"id": mine, "company_name": "forged", column: value},
                           prefer="resolution=merge-duplicates,return=representation")  # fmt: skip
        for reply in (made, changed, put):
            assert reply.status == 403, f"{column}: {reply.status} {reply.text}"
        row = world.b.get(f"customers?id=eq.{mine}").rows[0]
        assert row[column] != value
        assert world.b.patch(f"customers?id=eq.{mine}", {"notes": "as it may be"}).rows[0]["version"] == 2

    return strike


for _column in FORGED:
    WRITES(f"forge {_column}")(_forge(_column))


@WRITES("forge deleted_at when creating")
def _(world: World) -> None:
    assert world.b.post("customers", {"company_name": "forged", "deleted_at": "2001-01-01"}).status == 403


@WRITES("forge the time of a deletion")
def _(world: World) -> None:
    mine = _own_customer(world)
    row = world.b.patch(f"customers?id=eq.{mine}", {"deleted_at": "2001-01-01T00:00:00Z"}).rows[0]
    assert not row["deleted_at"].startswith("2001")
    again = world.b.patch(f"customers?id=eq.{mine}", {"deleted_at": "2002-02-02T00:00:00Z", "notes": "late"})
    assert again.rows == [], "a deleted row is changed"


@WRITES("change the id of a row to another's")
def _(world: World) -> None:
    mine = _own_customer(world)
    assert world.b.patch(f"customers?id=eq.{mine}", {"id": world.ids["customers"]}).status == 403
    assert world.b.patch(f"customers?id=eq.{mine}", {"company_name": "mine"}).rows


@WRITES("create under an id of another tenant")
def _(world: World) -> None:
    third = world.member(str(new_id()), "admin")
    theirs = world.ids["customers"]
    made = third.post("customers", {"id": theirs, "company_name": "the same id"})
    assert made.status == 201, f"another tenant's id stands in the way, and so is told: {made.text}"
    assert made.rows[0]["tenant_id"] != world.a
    again = third.post("customers", {"id": theirs, "company_name": "twice"})
    assert again.status == 409
    assert world.a not in again.text


@WRITES("use an e-mail of another tenant")
def _(world: World) -> None:
    third = world.member(str(new_id()), "admin")
    made = third.post("customers", {"company_name": "the same address", "email": f"{world.mail_mark}@a.test"})
    assert made.status == 201, f"another tenant's address stands in the way, and so is told: {made.text}"
    clash = third.post("customers", {"company_name": "own", "email": f"{world.mail_mark.upper()}@A.test"})
    assert clash.status == 409, "the control: in one's own tenant it does"
    assert world.a not in clash.text


@WRITES("upsert onto another tenant's row")
def _(world: World) -> None:
    third = world.member(str(new_id()), "admin")
    theirs = {"id": world.ids["customers"], "company_name": "evil"}
    for target in ("tenant_id,id", "id", "email", "company_name"):
        for resolution in ("merge-duplicates", "ignore-duplicates"):
            reply = third.post(
                f"customers?on_conflict={target}", theirs, prefer=f"resolution={resolution},return=representation"
            )
            assert reply.refused or {row["tenant_id"] for row in reply.rows} & {world.a} == set(), (
                target,
                resolution,
                reply.text,
            )


@WRITES("replace another tenant's row by PUT")
def _(world: World) -> None:
    body = {"tenant_id": world.a, "id": world.ids["customers"], "company_name": "evil"}
    for query in (f"id=eq.{world.ids['customers']}", f"tenant_id=eq.{world.a}&id=eq.{world.ids['customers']}"):
        assert world.b.send("PUT", f"/rest/v1/customers?{query}", body).refused, query


@WRITES("choose columns in the query to slip a tenant in")
def _(world: World) -> None:
    body = [{"company_name": "slipped", "tenant_id": world.a, "version": 7}]
    assert world.b.post("customers?columns=company_name,tenant_id", body).status == 403
    assert world.b.post('customers?columns="company_name","version"', body).status == 403
    made = world.b.post("customers?columns=company_name", body)
    assert made.rows[0]["tenant_id"] == world.b_tenant
    assert made.rows[0]["version"] == 1


@WRITES("slip a foreign row into a bulk insert")
def _(world: World) -> None:
    rows = [{"company_name": "mine", "tenant_id": world.b_tenant}, {"company_name": "theirs", "tenant_id": world.a}]
    assert world.b.post("customers", rows).status == 403
    csv = f"company_name,tenant_id\nevil,{world.a}\n".encode()
    assert world.b.send("POST", "/rest/v1/customers", csv, {"content-type": "text/csv"}).status == 403
    form = f"company_name=evil&tenant_id={world.a}".encode()
    assert (
        world.b.send("POST", "/rest/v1/customers", form, {"content-type": "application/x-www-form-urlencoded"}).status
        == 403
    )
    assert world.b.post("customers", [{"company_name": "mine"}, {"company_name": "mine too"}]).status == 201


@WRITES("write the generated column")
def _(world: World) -> None:
    assert world.b.post("customers", {"company_name": "x", "search_text": "evil"}).refused
    assert world.b.patch(f"customers?id=eq.{world.own['customers']}", {"search_text": "evil"}).refused


@WRITES("give a ticket a number of one's own")
def _(world: World) -> None:
    reply = world.b.post("tickets", {"subject": "forged", "number": 4711})
    assert reply.status == 403, reply.text
    assert world.b.patch(f"tickets?id=eq.{world.own['tickets']}", {"number": 4711}).status == 403
    assert world.b.post("tickets", {"subject": "honest"}).rows[0]["number"] < 4711


def _anon_writes(persona_name: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        persona: Persona = getattr(world, persona_name)
        for table, values in WRITABLE.items():
            for reply in (
                persona.post(table, {**values, "tenant_id": world.a}),
                persona.post(table, values),
                persona.patch(f"{table}?id=eq.{world.ids[table]}", values),
                persona.delete(f"{table}?id=eq.{world.ids[table]}"),
            ):
                assert reply.refused or reply.rows == [], (table, reply.text)

    return strike


WRITES("write as anon")(_anon_writes("anon"))
WRITES("write without any key")(_anon_writes("nobody"))
WRITES("write with a token of no tenant")(_anon_writes("stray"))


@WRITES("edit an entry of the audit trail")
def _(world: World) -> None:
    for persona, entry in ((world.b, world.own["audit"]), (world.admin_a, world.ids["audit"])):
        assert persona.get(f"audit?id=eq.{entry}").rows
        assert persona.patch(f"audit?id=eq.{entry}", {"actor": "nobody"}).status == 403
        assert persona.patch(f"audit?id=eq.{entry}", {"deleted_at": "now"}).status == 403


@WRITES("delete an entry of the audit trail")
def _(world: World) -> None:
    for persona, entry in ((world.b, world.own["audit"]), (world.admin_a, world.ids["audit"])):
        assert persona.delete(f"audit?id=eq.{entry}").status == 403
        assert persona.get(f"audit?id=eq.{entry}").rows


@WRITES("edit or delete the audit trail with the service key")
def _(world: World) -> None:
    assert world.service.delete(f"audit?id=eq.{world.ids['audit']}").status == 403
    assert world.service.patch(f"audit?id=eq.{world.ids['audit']}", {"actor": "nobody"}).status == 403


@WRITES("write an entry into the audit trail")
def _(world: World) -> None:
    entry = {"actor": "somebody", "action": "delete", "target": "customers", "record_id": world.own["customers"]}
    for persona in (world.b, world.agent_b, world.admin_a, world.manager_a, world.anon):
        assert persona.post("audit", entry).refused, persona.name
        assert persona.post(
            "audit?on_conflict=tenant_id,id", {**entry, "id": world.own["audit"]}, prefer="resolution=merge-duplicates"
        ).refused


@WRITES("write without leaving a trace")
def _(world: World) -> None:
    mine = _own_customer(world)
    for headers in ({"prefer": "return=minimal"}, {"prefer": "tx=commit"}, {"x-interlock-operation": ""}, {"x-interlock-epoch": "; drop"},
                    {"app.putting": "on"}, {"x-interlock-putting": "on"}):  # fmt: skip
        before = world.b.get(f"audit?record_id=eq.{mine}&select=id").rows
        reply = world.b.send("PATCH", f"/rest/v1/customers?id=eq.{mine}", {"notes": new_id()}, headers)
        assert reply.ok, reply.text
        after = world.b.get(f"audit?record_id=eq.{mine}&select=id,actor").rows
        assert len(after) == len(before) + 1, headers
        assert {row["actor"] for row in after} == {world.b.get(f"customers?id=eq.{mine}").rows[0]["created_by"]}


@WRITES("write into the log of changes")
def _(world: World) -> None:
    row = {
        "tenant_id": world.a,
        "resource": "customers",
        "record_id": world.ids["customers"],
        "version": 9,
        "kind": "deleted",
    }
    for persona in (world.b, world.admin_a, world.anon, world.service):
        assert persona.post("changes", row).refused, persona.name
        assert persona.patch("changes?position=gt.0", {"kind": "deleted"}).refused, persona.name
        assert persona.delete("changes?position=gt.0").refused, persona.name


@WRITES("roll a write back, and keep what it told")
def _(world: World) -> None:
    reply = world.b.post("customers", {"company_name": "rolled"}, prefer="tx=rollback,return=representation")
    assert reply.status == 201
    assert world.b.get(f"customers?id=eq.{reply.rows[0]['id']}").rows, "a caller may choose to roll back"


@WRITES("take another tenant's operation id")
def _(world: World) -> None:
    operation = str(new_id())
    headers = {
        "x-interlock-operation": f"{operation}/0",
        "x-interlock-fingerprint": "f",
        "prefer": "return=representation",
    }
    first = world.admin_a.send("POST", "/rest/v1/tags", {"name": f"{world.mark} {operation}"}, headers)
    assert first.status == 201, first.text
    replay = world.admin_a.send("POST", "/rest/v1/tags", {"name": f"{world.mark} {operation}"}, headers)
    assert replay.status == 409, "the control: its owner is told what it did"
    assert world.mark in replay.text
    taken = world.b.send("POST", "/rest/v1/tags", {"name": f"own {operation}"}, headers)
    assert taken.status == 201, "it is free in another tenant"
    world.b.send(
        "PATCH",
        f"/rest/v1/tags?id=eq.{taken.rows[0]['id']}",
        {"color": "#000000"},
        {**headers, "x-interlock-fingerprint": "g"},
    )
    world.service.delete(f"tags?tenant_id=eq.{world.a}&id=eq.{first.rows[0]['id']}")
    world.settle()


@WRITES("take a colleague's operation id")
def _(world: World) -> None:
    operation = str(new_id())
    headers = {
        "x-interlock-operation": f"{operation}/0",
        "x-interlock-fingerprint": "f",
        "prefer": "return=representation",
    }
    made = world.b.send("POST", "/rest/v1/tags", {"name": f"own {operation}"}, headers)
    assert made.status == 201
    replay = world.agent_b.send("POST", "/rest/v1/tags", {"name": f"own {operation}"}, headers)
    assert replay.status == 422
    assert operation not in replay.text
    assert "rows" not in replay.text


@WRITES("forge the headers of an operation")
def _(world: World) -> None:
    for name, value in (
        ("x-interlock-epoch", "-1"), ("x-interlock-epoch", "9" * 40), ("x-interlock-epoch", "1e9"), ("x-interlock-epoch", "0x10"),
        ("x-interlock-operation", "'; drop table app.operations; --/0"), ("x-interlock-operation", "/"), ("x-interlock-operation", "../../x"),
        ("x-interlock-duplicates", "merge"), ("x-interlock-fingerprint", "x" * 3000),
    ):  # fmt: skip
        reply = world.b.send(
            "POST", "/rest/v1/tags", {"name": new_id()}, {name: value, "prefer": "return=representation"}
        )
        assert reply.status in (201, 400, 409, 422), (name, value, reply.text)
        if reply.status == 201:
            entry = world.b.get(f"audit?record_id=eq.{reply.rows[0]['id']}").rows[0]
            assert 0 <= entry["epoch"] < 10**15
            assert entry["tenant_id"] == world.b_tenant


@WRITES("find another tenant's values by skipping duplicates")
def _(world: World) -> None:
    third = world.member(str(new_id()), "admin")
    skip = {"x-interlock-duplicates": "skip", "prefer": "return=representation"}
    theirs = [{"id": world.ids["tags"], "name": "taken id"}, {"id": new_id(), "name": f"{world.mark} tag"}]
    rows = third.send("POST", "/rest/v1/tags", theirs, skip).rows
    assert len(rows) == 2, "what another tenant has is skipped, and so is told"
    again = third.send("POST", "/rest/v1/tags", theirs, skip).rows
    assert len(again) < 2, "the control: one's own is skipped"


@WRITES("refer to another tenant's record")
def _(world: World) -> None:
    made = world.b.post("comments", {"ticket_id": world.ids["tickets"], "body": "onto a foreign ticket"})
    assert made.status in (201, 400, 403, 409)
    assert world.admin_a.get(f"comments?ticket_id=eq.{world.ids['tickets']}&body=like.onto*").rows == []
    world.service.delete(f"comments?tenant_id=eq.{world.b_tenant}&ticket_id=eq.{world.ids['tickets']}")


@WRITES("make a constraint tell a foreign row")
def _(world: World) -> None:
    for body in (
        {"status": "evil"},
        {"size": "evil"},
        {"email": "no address"},
        {"company_name": ""},
        {"tags": [""]},
        {"location": "POINT EMPTY"},
    ):
        reply = world.b.patch(f"customers?or=(tenant_id.eq.{world.a},id.eq.{world.ids['customers']})", body)
        assert not reply.ok or reply.rows == [], body
        assert world.b.patch("customers?id=not.is.null", body).status in (400, 500), (
            "the control: one's own rows break it"
        )


@WRITES("write with the official client")
def _(world: World) -> None:
    client = world.b.client
    theirs = world.ids["customers"]
    assert client.table("customers").update({"notes": "evil"}).eq("id", theirs).execute().data == []
    calls: list[Callable[[], Any]] = [
        lambda: client.table("customers").insert({"company_name": "x", "tenant_id": world.a}).execute(),
        lambda: client.table("customers").upsert({"tenant_id": world.a, "id": theirs, "company_name": "x"}).execute(),
        lambda: client.table("customers").delete().eq("id", theirs).execute(),
        lambda: client.table("audit").delete().eq("id", world.ids["audit"]).execute(),
    ]
    for call in calls:
        with pytest.raises(APIError, match="42501"):
            call()
    made: Any = client.table("customers").insert({"company_name": "own, by the client"}).execute().data
    assert made[0]["tenant_id"] == world.b_tenant
