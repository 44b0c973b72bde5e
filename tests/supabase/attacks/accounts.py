"""Supabase's auth: its administration, metadata of one's own, sign-ups into somebody's tenant."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from supabase_auth.errors import AuthError
from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import PASSWORD, Persona, World

from interlock.identifiers import new_id

ACCOUNTS = Table()


def _address() -> str:
    return f"{secrets.token_hex(6)}@accounts.test"


@ACCOUNTS("call the administration of users")
def _(world: World) -> None:
    victim = world.account({"tenant_id": world.b_tenant, "role": "agent"})[1]
    for persona in (world.b, world.agent_b, world.anon, world.nobody, world.stray):
        for method, path, body in (
            ("GET", "/auth/v1/admin/users", None),
            ("GET", f"/auth/v1/admin/users/{victim}", None),
            (
                "POST",
                "/auth/v1/admin/users",
                {"email": _address(), "password": PASSWORD, "app_metadata": {"tenant_id": world.a, "role": "admin"}},
            ),
            ("PUT", f"/auth/v1/admin/users/{victim}", {"app_metadata": {"role": "admin"}}),
            ("DELETE", f"/auth/v1/admin/users/{victim}", None),
            ("POST", "/auth/v1/admin/generate_link", {"type": "magiclink", "email": _address()}),
            ("POST", "/auth/v1/invite", {"email": _address()}),
        ):
            assert persona.send(method, path, body).refused, (persona.name, method, path)
    assert world.service.send("GET", f"/auth/v1/admin/users/{victim}").json["app_metadata"]["role"] == "agent"


@ACCOUNTS("reach the administration by a crooked path")
def _(world: World) -> None:
    for path in ("/auth/v1//admin/users", "/auth/v1/%61dmin/users", "/auth/v1/./admin/users", "/auth/v1/verify/../admin/users", "/AUTH/v1/admin/users",
                 "/auth/v1/admin/users/", "/auth/v1/admin//users", "/auth/v1/authorize/../admin/users", "/auth/v1/admin%2fusers", "/rest/v1/../auth/v1/admin/users"):  # fmt: skip
        for persona in (world.b, world.anon, world.nobody):
            reply = persona.send("GET", path)
            assert not reply.ok or "users" not in reply.text, (persona.name, path, reply.text[:200])
    assert world.service.send("GET", "/auth/v1/admin/users").ok


@ACCOUNTS("call the administration with the official client")
def _(world: World) -> None:
    for persona in (world.b, world.anon):
        with pytest.raises(AuthError):
            persona.client.auth.admin.list_users()
        with pytest.raises(AuthError):
            persona.client.auth.admin.create_user(
                {"email": _address(), "password": PASSWORD, "app_metadata": {"tenant_id": world.a}}
            )


def _again(world: World, email: str) -> Persona:
    # Not watched: their own metadata may name tenant A, as they sent it.
    persona = Persona(world, "again", world.anon_key, watched=False)
    reply = persona.send("POST", "/auth/v1/token?grant_type=password", {"email": email, "password": PASSWORD})
    assert reply.ok, reply.text
    persona.token = reply.json["access_token"]
    return persona


@ACCOUNTS("edit one's own metadata to change the tenant")
def _(world: World) -> None:
    email, _ = world.account({"tenant_id": world.b_tenant, "role": "viewer"})
    persona = _again(world, email)
    for body in (
        {"app_metadata": {"tenant_id": world.a, "role": "admin"}},
        {"data": {"tenant_id": world.a, "role": "admin", "app_metadata": {"tenant_id": world.a}}},
        {"raw_app_meta_data": {"tenant_id": world.a, "role": "admin"}},
        {"role": "service_role", "aud": "x", "is_super_admin": True},
    ):
        persona.send("PUT", "/auth/v1/user", body)
    changed = _again(world, email)
    assert changed.get("customers?limit=1").rows, "the control: they are who they were"
    assert {row["tenant_id"] for row in changed.get("customers").rows} == {world.b_tenant}
    assert changed.post("customers", {"company_name": "as admin"}).status == 403
    me = changed.send("GET", "/auth/v1/user").json
    assert (me["app_metadata"]["tenant_id"], me["app_metadata"]["role"], me["role"]) == (
        world.b_tenant,
        "viewer",
        "authenticated",
    )


def _confirmed(world: World, email: str, user: str) -> Persona:
    """As who clicked the link in the mail."""
    assert world.service.send("PUT", f"/auth/v1/admin/users/{user}", {"email_confirm": True}).ok
    return _again(world, email)


@ACCOUNTS("sign up into another's tenant")
def _(world: World) -> None:
    meta = {"tenant_id": world.a, "role": "admin", "app_metadata": {"tenant_id": world.a}}
    for body in (
        {"data": meta},
        {"data": meta, "app_metadata": meta},
        {"data": meta, "raw_app_meta_data": meta, "role": "service_role"},
        {"options": {"data": meta}},
    ):
        email = _address()
        reply = world.anon.send("POST", "/auth/v1/signup", {"email": email, "password": PASSWORD, **body})
        assert "access_token" not in reply.text
        assert reply.ok, reply.text
        made = reply.json.get("user") or reply.json
        persona = _confirmed(world, email, made["id"])
        rows = persona.get("customers")
        assert rows.refused or rows.rows == []
        assert persona.post("customers", {"company_name": "evil"}).status == 403
        assert not persona.send("GET", f"/storage/v1/object/files/{world.path}").ok


@ACCOUNTS("sign up with an invited address that is not one's own")
def _(world: World) -> None:
    invited = _address()
    user = world.b.post("users", {"email": invited, "display_name": "invited", "role": "admin"}).rows[0]["id"]
    reply = world.anon.send(
        "POST", "/auth/v1/signup", {"email": invited, "password": PASSWORD, "data": {"tenant_id": world.b_tenant}}
    )
    assert "access_token" not in reply.text, "nobody has shown that the address is theirs"
    tried = world.anon.send("POST", "/auth/v1/token?grant_type=password", {"email": invited, "password": PASSWORD})
    assert not tried.ok
    made = (reply.json.get("user") or reply.json)["id"]
    metadata = world.service.send("GET", f"/auth/v1/admin/users/{made}").json["app_metadata"]
    assert "tenant_id" not in metadata
    joined = _confirmed(world, invited, made)
    me = joined.send("GET", "/auth/v1/user").json["app_metadata"]
    assert (me["tenant_id"], me["user_id"]) == (world.b_tenant, user), "the control: once confirmed, they are in"


@ACCOUNTS("change one's address to an invited one")
def _(world: World) -> None:
    invited = _address()
    world.b.post("users", {"email": invited, "display_name": "invited", "role": "admin"})
    email, user = world.account({})
    persona = _again(world, email)
    persona.send("PUT", "/auth/v1/user", {"email": invited})
    known: Any = world.service.send("GET", f"/auth/v1/admin/users/{user}").json
    assert "tenant_id" not in known["app_metadata"], "an address nobody has confirmed has let them in"
    again = world.anon.send("POST", "/auth/v1/token?grant_type=password", {"email": invited, "password": PASSWORD})
    assert not again.ok or "tenant_id" not in again.json["user"]["app_metadata"]


@ACCOUNTS("invite another tenant's user into one's own")
def _(world: World) -> None:
    email, user = world.account({"tenant_id": world.a, "role": "admin"})
    made = world.b.post("users", {"email": email, "display_name": "lured", "role": "viewer"})
    assert made.status == 201
    known = world.service.send("GET", f"/auth/v1/admin/users/{user}").json["app_metadata"]
    assert (known["tenant_id"], known["role"]) == (world.a, "admin"), "an invitation takes nobody out of their tenant"


@ACCOUNTS("let another tenant's user go by an id of theirs")
def _(world: World) -> None:
    theirs = world.manager_a.user_id
    third = world.member(str(new_id()), "admin")
    made = third.post(
        "users", {"id": theirs, "email": f"{new_id()}@b.test", "display_name": "the same id", "role": "viewer"}
    )
    assert made.status == 201
    assert third.patch(f"users?id=eq.{theirs}", {"active": False}).rows
    assert world.manager_a.get("audit?limit=1").rows, "what others say of an id must not reach A"


@ACCOUNTS("tell by a log-in who has an account")
def _(world: World) -> None:
    email, _ = world.account({"tenant_id": world.a, "role": "agent"})
    replies = [
        world.anon.send("POST", "/auth/v1/token?grant_type=password", {"email": address, "password": "wrong-password"})
        for address in (email, _address())
    ]
    assert replies[0].status == replies[1].status == 400
    assert replies[0].text == replies[1].text


@ACCOUNTS("use a refresh token twice, or somebody's old one")
def _(world: World) -> None:
    for token in ("", "x", "' or '1'='1", world.anon_key):
        assert world.anon.send("POST", "/auth/v1/token?grant_type=refresh_token", {"refresh_token": token}).refused
    email, _ = world.account({"tenant_id": world.b_tenant, "role": "agent"})
    session = world.anon.send("POST", "/auth/v1/token?grant_type=password", {"email": email, "password": PASSWORD}).json
    assert world.anon.send(
        "POST", "/auth/v1/token?grant_type=refresh_token", {"refresh_token": session["refresh_token"]}
    ).ok


@ACCOUNTS("log in by an injected address")
def _(world: World) -> None:
    for email in ("' or '1'='1' --", "admin@a.test'; drop table auth.users; --", '{"$ne": null}', "%"):
        assert world.anon.send(
            "POST", "/auth/v1/token?grant_type=password", {"email": email, "password": email}
        ).refused, email
    bodies: tuple[Any, ...] = ({"email": {"like": "%"}, "password": PASSWORD}, {"email": ["x"], "password": None}, [])
    for body in bodies:
        assert not world.anon.send("POST", "/auth/v1/token?grant_type=password", body).ok
