"""Another tenant's files: read, listed, written, moved, signed, by straight and by crooked paths."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from storage3.exceptions import StorageApiError
from tests.supabase.attacks.table import Table
from tests.supabase.attacks.world import Persona, Reply, World

from interlock.identifiers import new_id

STORAGE = Table()
OBJECT = "/storage/v1/object"
TEXT = {"content-type": "text/plain"}


def _names(reply: Reply) -> list[str]:
    return [entry["name"] for entry in reply.json] if reply.ok else []


@STORAGE("read another tenant's file")
def _(world: World) -> None:
    for persona in (world.b, world.agent_b, world.anon, world.nobody, world.stray):
        for form in ("", "authenticated/", "public/", "info/", "info/authenticated/", "info/public/"):
            reply = persona.send("GET", f"{OBJECT}/{form}files/{world.path}")
            assert not reply.ok, (persona.name, form)
            assert not persona.send("HEAD", f"{OBJECT}/{form}files/{world.path}").ok, (persona.name, form)
    assert world.b.send("GET", f"{OBJECT}/files/{world.own_path}").text == "own file"


@STORAGE("tell another tenant's file from one that is nowhere")
def _(world: World) -> None:
    theirs = world.b.send("GET", f"{OBJECT}/files/{world.path}")
    nowhere = world.b.send("GET", f"{OBJECT}/files/{world.a}/{new_id()}")
    assert (theirs.status, theirs.text) == (nowhere.status, nowhere.text)


@STORAGE("list another tenant's folder")
def _(world: World) -> None:
    for prefix in (
        world.a,
        f"{world.a}/",
        world.a[:8],
        "%",
        "_",
        f"{world.b_tenant}/../{world.a}/",
        f"/{world.a}/",
        "../",
    ):
        for body in (
            {"prefix": prefix},
            {"prefix": prefix, "search": "", "limit": 1000},
            {"prefix": "", "search": prefix},
        ):
            for persona in (world.b, world.anon, world.stray):
                names = _names(persona.send("POST", f"{OBJECT}/list/files", body))
                foreign = [name for name in names if not name.startswith((world.b_tenant, world.own["files"]))]
                assert not foreign, (persona.name, body, foreign)
    assert world.own["files"] in _names(world.b.send("POST", f"{OBJECT}/list/files", {"prefix": f"{world.b_tenant}/"}))


@STORAGE("list the root of the bucket")
def _(world: World) -> None:
    assert _names(world.b.send("POST", f"{OBJECT}/list/files", {"prefix": "", "limit": 1000})) == [world.b_tenant]


@STORAGE("upload into another tenant's folder")
def _(world: World) -> None:
    for persona in (world.b, world.agent_b, world.anon, world.nobody, world.stray):
        for method in ("POST", "PUT"):
            reply = persona.send(method, f"{OBJECT}/files/{world.a}/{new_id()}", b"evil", TEXT)
            assert not reply.ok, (persona.name, method)
    assert world.b.send("POST", f"{OBJECT}/files/{world.b_tenant}/{new_id()}", b"own", TEXT).ok


@STORAGE("overwrite another tenant's file")
def _(world: World) -> None:
    for persona in (world.b, world.anon, world.stray, world.viewer_a):
        for method, more in (("POST", {"x-upsert": "true"}), ("PUT", {}), ("PUT", {"x-upsert": "true"})):
            assert not persona.send(method, f"{OBJECT}/files/{world.path}", b"evil", {**TEXT, **more}).ok, (
                persona.name,
                method,
            )
    assert world.b.send("PUT", f"{OBJECT}/files/{world.own_path}", b"own file", {**TEXT, "x-upsert": "true"}).ok


@STORAGE("delete another tenant's file")
def _(world: World) -> None:
    for persona in (world.b, world.anon, world.stray, world.viewer_a, world.agent_a):
        persona.send("DELETE", f"{OBJECT}/files/{world.path}")
        reply = persona.send("DELETE", f"{OBJECT}/files", {"prefixes": [world.path, f"{world.a}/"]})
        assert not reply.ok or reply.json == [], persona.name
    path = f"{world.b_tenant}/{new_id()}"
    assert world.b.send("POST", f"{OBJECT}/files/{path}", b"own", TEXT).ok
    assert len(world.b.send("DELETE", f"{OBJECT}/files", {"prefixes": [path]}).json) == 1


def _carry(verb: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        for source, target in (
            (world.path, f"{world.b_tenant}/{new_id()}"),
            (world.own_path, f"{world.a}/{new_id()}"),
            (world.own_path, world.path),
            (world.path, f"{world.a}/{new_id()}"),
        ):
            body = {"bucketId": "files", "sourceKey": source, "destinationKey": target, "destinationBucket": "files"}
            for persona in (world.b, world.anon, world.stray):
                assert not persona.send("POST", f"{OBJECT}/{verb}", body).ok, (persona.name, source, target)
        copy = {"bucketId": "files", "sourceKey": world.own_path, "destinationKey": f"{world.b_tenant}/{new_id()}"}
        assert world.b.send("POST", f"{OBJECT}/copy", copy).ok

    return strike


STORAGE("move files over a tenant's border")(_carry("move"))
STORAGE("copy files over a tenant's border")(_carry("copy"))


@STORAGE("sign a URL of another tenant's file")
def _(world: World) -> None:
    for persona in (world.b, world.anon, world.stray):
        assert not persona.send("POST", f"{OBJECT}/sign/files/{world.path}", {"expiresIn": 60}).ok, persona.name
        many = persona.send("POST", f"{OBJECT}/sign/files", {"expiresIn": 60, "paths": [world.path]})
        assert not many.ok or all(not entry.get("signedURL") for entry in many.json), persona.name
        assert not persona.send("POST", f"{OBJECT}/upload/sign/files/{world.path}", {}, {"x-upsert": "true"}).ok, (
            persona.name
        )
    assert world.b.send("POST", f"{OBJECT}/sign/files/{world.own_path}", {"expiresIn": 60}).ok


@STORAGE("use a signed URL's token for another path")
def _(world: World) -> None:
    signed = world.b.send("POST", f"{OBJECT}/sign/files/{world.own_path}", {"expiresIn": 60}).json["signedURL"]
    token = signed.partition("token=")[2]
    assert world.nobody.send("GET", f"/storage/v1{signed}").text == "own file"
    for path in (
        world.path,
        f"{world.own_path}/../../{world.path}",
        f"{world.b_tenant}/..%2f{world.path}",
        f"{world.path}%00{world.own_path}",
    ):
        assert not world.nobody.send("GET", f"{OBJECT}/sign/files/{path}?token={token}").ok, path
    for other in (f"{OBJECT}/upload/sign/files/{world.path}", f"{OBJECT}/upload/sign/files/{world.own_path}"):
        assert not world.nobody.send("PUT", f"{other}?token={token}", b"evil", TEXT).ok, other
    assert not world.bearing(token).get("customers?limit=1").ok, "a signed URL's token is no log-in"


@STORAGE("use a signed upload's token for another path")
def _(world: World) -> None:
    path = f"{world.b_tenant}/{new_id()}"
    signed = world.b.send("POST", f"{OBJECT}/upload/sign/files/{path}", {})
    assert signed.ok, signed.text
    token = signed.json["url"].partition("token=")[2]
    for target in (world.path, f"{world.a}/{new_id()}"):
        assert not world.nobody.send(
            "PUT", f"{OBJECT}/upload/sign/files/{target}?token={token}", b"evil", {**TEXT, "x-upsert": "true"}
        ).ok
    assert not world.nobody.send("GET", f"{OBJECT}/sign/files/{world.path}?token={token}").ok
    assert world.nobody.send("PUT", f"{OBJECT}/upload/sign/files/{path}?token={token}", b"own", TEXT).ok


@STORAGE("forge or age a signed URL")
def _(world: World) -> None:
    for claims in ({"url": f"files/{world.path}"}, {"url": f"/object/sign/files/{world.path}"}):
        for token in (world.mint("x" * 40, **claims), world.mint(algorithm="none", **claims), world.mint("", **claims)):
            assert not world.nobody.send("GET", f"{OBJECT}/sign/files/{world.path}?token={token}").ok
    for token in (world.admin_a.token or "", world.anon_key, "", "x"):
        assert not world.nobody.send("GET", f"{OBJECT}/sign/files/{world.path}?token={token}").ok, (
            "a token of another kind opens a file"
        )


def _crooked(world: World) -> list[str]:
    a, b, file = world.a, world.b_tenant, world.ids["files"]
    return [
        f"{b}/../{a}/{file}", f"{b}/%2e%2e/{a}/{file}", f"{b}/..%2f{a}%2f{file}", f"{b}%2f..%2f{a}%2f{file}", f"{b}/./../{a}/{file}",
        f"{b}//../{a}/{file}", f"/{a}/{file}", f"//{a}/{file}", f"{b}/%252e%252e/{a}/{file}", f"{b}\\..\\{a}\\{file}",
        f"{b}/..\u2215{a}/{file}", f"{b}/\u2024\u2024/{a}/{file}", f"{b}%00/../{a}/{file}", f"./{a}/{file}", f"{a}/./{file}", f"{a}//{file}",
        f"{b}/../../files/{a}/{file}", f"{a.upper()}/{file}", f" {a}/{file}",
    ]  # fmt: skip


@STORAGE("read by a crooked path")
def _(world: World) -> None:
    for path in _crooked(world):
        for persona in (world.b, world.anon):
            reply = persona.send("GET", f"{OBJECT}/files/{path.replace(' ', '%20')}")
            assert not reply.ok, (path, reply.text)
            assert not persona.send("GET", f"{OBJECT}/authenticated/files/{path.replace(' ', '%20')}").ok, path


@STORAGE("write by a crooked path")
def _(world: World) -> None:
    for path in _crooked(world):
        for method in ("POST", "PUT"):
            world.b.send(method, f"{OBJECT}/files/{path.replace(' ', '%20')}", b"evil", {**TEXT, "x-upsert": "true"})
            assert world.admin_a.send("GET", f"{OBJECT}/files/{world.path}").text == world.file_mark, path


@STORAGE("carry by a crooked path")
def _(world: World) -> None:
    for path in _crooked(world):
        for source, target in ((path, f"{world.b_tenant}/{new_id()}"), (world.own_path, path)):
            body = {"bucketId": "files", "sourceKey": source, "destinationKey": target}
            for verb in ("copy", "move"):
                world.b.send("POST", f"{OBJECT}/{verb}", body)
                taken = world.b.send("GET", f"{OBJECT}/files/{target}") if source == path else None
                assert taken is None or not taken.ok or world.file_mark not in taken.text
        if not world.b.send("GET", f"{OBJECT}/files/{world.own_path}").ok:
            assert world.b.send("POST", f"{OBJECT}/files/{world.own_path}", b"own file", TEXT).ok
    assert world.admin_a.send("GET", f"{OBJECT}/files/{world.path}").text == world.file_mark


@STORAGE("write where no tenant is named")
def _(world: World) -> None:
    for path in (
        new_id(),
        f"x/{new_id()}",
        f"files/{new_id()}",
        f"%2f{new_id()}",
        f"../{new_id()}",
        f"-/{new_id()}",
        "null/x",
        "undefined/x",
    ):
        for persona in (world.b, world.stray, world.anon):
            assert not persona.send("POST", f"{OBJECT}/files/{path}", b"evil", TEXT).ok, (persona.name, path)


def _buckets(persona_name: str) -> Callable[[World], None]:
    def strike(world: World) -> None:
        persona: Persona = getattr(world, persona_name)
        name = f"evil-{new_id()}"
        for method, path, body in (
            ("POST", "bucket", {"id": name, "name": name, "public": True}),
            ("PUT", "bucket/files", {"id": "files", "name": "files", "public": True}),
            ("POST", "bucket/files/empty", {}),
            ("DELETE", "bucket/files", None),
        ):
            reply = persona.send(method, f"/storage/v1/{path}", body)
            assert not reply.ok, (method, path, reply.text)
        listed = persona.send("GET", "/storage/v1/bucket")
        assert not listed.ok or listed.json == []
        bucket = world.service.send("GET", "/storage/v1/bucket/files").json
        assert bucket["public"] is False
        assert not world.nobody.send("GET", f"{OBJECT}/public/files/{world.path}").ok

    return strike


for _name in ("b", "agent_a", "admin_a", "anon", "nobody", "stray"):
    STORAGE(f"make, open, empty and delete buckets as {_name}")(_buckets(_name))


@STORAGE("write into another bucket")
def _(world: World) -> None:
    for bucket in ("public", "FILES", "files ", "files%00", "..", "avatars"):
        reply = world.b.send("POST", f"{OBJECT}/{bucket.replace(' ', '%20')}/{world.b_tenant}/{new_id()}", b"x", TEXT)
        assert not reply.ok, bucket


@STORAGE("reach files with the official client")
def _(world: World) -> None:
    files = world.b.client.storage.from_("files")
    for call in (
        lambda: files.download(world.path),
        lambda: files.upload(f"{world.a}/{new_id()}", b"evil"),
        lambda: files.upload(world.path, b"evil", {"upsert": "true"}),
        lambda: files.update(world.path, b"evil"),
        lambda: files.move(world.path, f"{world.b_tenant}/{new_id()}"),
        lambda: files.copy(world.path, f"{world.b_tenant}/{new_id()}"),
        lambda: files.create_signed_url(world.path, 60),
        lambda: world.b.client.storage.create_bucket("evil"),
        lambda: world.b.client.storage.empty_bucket("files"),
    ):
        with pytest.raises(StorageApiError):
            call()
    assert files.list(world.a) == []
    assert files.remove([world.path]) == []
    assert files.download(world.own_path) == b"own file"
