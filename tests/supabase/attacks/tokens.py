"""Tokens that are forged, old, or of somebody who was let go."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import Persona, World, encoded

from interlock.identifiers import new_id

TOKENS = Table()


def _useless(world: World, persona: Persona) -> None:
    """Nothing takes this token."""
    assert persona.get("customers").status == 401, persona.name
    assert persona.rpc("customers_search", needle="").status == 401, persona.name
    assert persona.post("customers", {"company_name": "evil"}).status == 401, persona.name
    assert persona.send("GET", "/auth/v1/user").refused, persona.name
    assert persona.send("GET", f"/storage/v1/object/files/{world.path}").refused, persona.name
    assert persona.send("POST", f"/storage/v1/object/files/{world.a}/{new_id()}", b"evil").refused, persona.name
    listed = persona.send("POST", "/storage/v1/object/list/files", {"prefix": f"{world.a}/"})
    assert listed.refused or listed.json == [], persona.name
    assert persona.send("POST", "/functions/v1/merge-customers", {}).status == 401, persona.name


def _forged(make: Callable[[World], str]) -> Callable[[World], None]:
    def strike(world: World) -> None:
        _useless(world, world.bearing(make(world)))
        honest = world.bearing(world.mint(app_metadata={"tenant_id": world.b_tenant, "role": "admin"}))
        assert honest.get("customers?limit=1").rows, "the control: one with the secret is taken"

    return strike


def _admin(world: World) -> dict[str, str]:
    return {"tenant_id": world.a, "role": "admin"}


def _cut(world: World) -> str:
    head, body, _ = world.admin_a.token.split(".") if world.admin_a.token else ("", "", "")
    return f"{head}.{body}."


def _swapped(world: World) -> str:
    head, _, signature = (world.b.token or "").split(".")
    now = int(time.time())
    claims = {
        "role": "authenticated",
        "aud": "authenticated",
        "sub": new_id(),
        "exp": now + 999,
        "app_metadata": _admin(world),
    }
    return f"{head}.{encoded(claims)}.{signature}"


FORGERIES: dict[str, Callable[[World], str]] = {
    "sign with no algorithm": lambda world: world.mint(algorithm="none", app_metadata=_admin(world)),
    "sign with another secret": lambda world: world.mint(
        "another-secret-of-at-least-32-characters", app_metadata=_admin(world)
    ),
    "sign with the anon key": lambda world: world.mint(world.anon_key, app_metadata=_admin(world)),
    "sign with an empty secret": lambda world: world.mint("", app_metadata=_admin(world)),
    "sign with the URL": lambda world: world.mint(world.url, app_metadata=_admin(world)),
    "sign as service_role with another secret": lambda world: world.mint(
        "x" * 40, role="service_role", app_metadata=_admin(world)
    ),
    "sign as system with another secret": lambda world: world.mint(
        "x" * 40, app_metadata={"tenant_id": world.a, "role": "system"}
    ),
    "leave the signature out": _cut,
    "put other claims under a good signature": _swapped,
    "bring an expired token": lambda world: world.mint(exp=int(time.time()) - 3600, app_metadata=_admin(world)),
    "bring something that is no token": lambda _: "not.a.token",
    "bring a token as a key": lambda world: (world.b.token or "")[::-1],
}
for _name, _make in FORGERIES.items():
    TOKENS(_name)(_forged(_make))


@TOKENS("bring a token that is not yet valid")
def _(world: World) -> None:
    early = world.bearing(
        world.mint(nbf=int(time.time()) + 3600, app_metadata={"tenant_id": world.b_tenant, "role": "admin"})
    )
    assert early.get("customers").status == 401


@TOKENS("name another role of the database")
def _(world: World) -> None:
    for role in (
        "postgres",
        "supabase_admin",
        "authenticator",
        "supabase_auth_admin",
        "supabase_storage_admin",
        "pg_read_all_data",
        "nobody",
        "",
    ):
        metadata = {"tenant_id": world.b_tenant, "role": "admin"}
        persona = world.bearing(world.mint(role=role, app_metadata=metadata), role)
        assert persona.get("customers").refused, role
        assert not persona.send("GET", f"/storage/v1/object/files/{world.path}").ok, role


@TOKENS("claim a tenant in user_metadata")
def _(world: World) -> None:
    for claims in (
        {"user_metadata": _admin(world)},
        {"user_metadata": _admin(world), "app_metadata": {}},
        {**_admin(world), "app_metadata": {"provider": "email"}},
        {"app_metadata": {"role": "admin"}, "tenant_id": world.a},
        {"app_metadata": [world.a, "admin"]},
        {"app_metadata": f'{{"tenant_id": "{world.a}", "role": "admin"}}'},
        {"app_metadata": {"tenant_id": world.a}},
    ):
        persona = world.bearing(world.mint(**claims))
        reply = persona.get("customers")
        assert reply.refused or reply.rows == [], claims
        assert not persona.send("GET", f"/storage/v1/object/files/{world.path}").ok


@TOKENS("claim a role that there is not")
def _(world: World) -> None:
    for role in ("root", "ADMIN", "superuser", "service_role", "admin,system", "%", ""):
        persona = world.bearing(world.mint(app_metadata={"tenant_id": world.b_tenant, "role": role}))
        reply = persona.get("customers")
        assert reply.refused or reply.rows == [], role
        assert persona.post("customers", {"company_name": "x"}).refused, role


def _member(world: World, role: str) -> Persona:
    made = world.b.post("users", {"email": f"{new_id()}@b.test", "display_name": "one", "role": role})
    return world.member(world.b_tenant, role, user_id=made.rows[0]["id"])


def _let_go(how: dict[str, object]) -> Callable[[World], None]:
    def strike(world: World) -> None:
        persona = _member(world, "admin")
        assert persona.get("customers?limit=1").rows, "the control: until then the token is good"
        path = f"/storage/v1/object/files/{world.own_path}"
        assert persona.send("GET", path).ok
        assert world.b.patch(f"users?id=eq.{persona.user_id}", how).rows
        for reply in (
            persona.get("customers?limit=1"),
            persona.get("audit?limit=1"),
            persona.post("customers", {"company_name": "late"}),
            persona.rpc("customers_search", needle=""),
            persona.rpc("interlock_changes", resource="customers"),
            persona.rpc("interlock_reject", operation_id="x", step="0", fingerprint="f", rejected=[]),
            persona.patch(f"users?id=eq.{persona.user_id}", {"active": True, "deleted_at": None}),
        ):
            assert reply.status == 401, reply.text
        assert not persona.send("GET", path).ok
        assert not persona.send("POST", f"/storage/v1/object/files/{world.b_tenant}/{new_id()}", b"late").ok
        assert not persona.send("DELETE", path).ok
        assert persona.send(
            "POST", "/functions/v1/send-notification", {"role": "agent", "kind": "x", "title": "x"}
        ).refused

    return strike


TOKENS("use the token of a deactivated user")(_let_go({"active": False}))
TOKENS("use the token of a deleted user")(_let_go({"deleted_at": "now"}))


@TOKENS("use the token of a role that was taken away")
def _(world: World) -> None:
    persona = _member(world, "admin")
    assert persona.patch(f"customers?id=eq.{world.own['customers']}", {"city": "before"}).rows
    assert world.b.patch(f"users?id=eq.{persona.user_id}", {"role": "viewer"}).rows
    assert persona.patch(f"customers?id=eq.{world.own['customers']}", {"city": "after"}).rows == []
    assert persona.post("customers", {"company_name": "late"}).status == 403
    assert persona.get("audit").rows == []
    assert persona.patch(f"users?id=eq.{persona.user_id}", {"role": "admin"}).rows == []
    assert not persona.send("POST", f"/storage/v1/object/files/{world.b_tenant}/{new_id()}", b"late").ok
    assert persona.get("customers?limit=1").rows


@TOKENS("claim a higher role than the users' table says")
def _(world: World) -> None:
    persona = _member(world, "viewer")
    raised = world.member(world.b_tenant, "admin", user_id=persona.user_id)
    assert raised.post("customers", {"company_name": "raised"}).status == 403
    assert raised.get("audit").rows == []
    assert raised.get("customers?limit=1").rows


@TOKENS("bring two tokens")
def _(world: World) -> None:
    reply = world.b.send(
        "GET",
        f"/rest/v1/customers?tenant_id=eq.{world.a}",
        headers={"cookie": f"sb-access-token={world.service_key}", "x-api-key": world.service_key},
    )
    assert reply.rows == []
    query = world.b.send(
        "GET", f"/rest/v1/customers?tenant_id=eq.{world.a}&access_token={world.mint('x' * 40, role='service_role')}"
    )
    assert query.refused or query.rows == []
