"""The bytes of files: streamed both ways, in ranges, and by signed address."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

from interlock.entities.file import File
from interlock.gateway.bodies import object_of
from interlock.gateway.calls import Call, clean_id
from interlock.gateway.problems import RangeOutside, Refused
from interlock.gateway.replies import Headers, Reply, Stream, json_reply
from interlock.services import Services
from interlock.services.files import Download

__all__ = ["download", "drop", "sign", "upload"]

LONGEST_LIFE: Final = 7 * 24 * 3600
"""The longest life of a signed address, in seconds."""

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")


async def upload(call: Call) -> Reply:
    """PUT content: store the body; `Content-Digest: sha-256=:…:` is checked where it is sent."""
    call.no_query()
    file_id = clean_id("files", call.path_params["id"])
    sha256 = _expected(call.header(b"content-digest"))
    chunks = call.chunks(call.edge.settings.upload_limit)
    return json_reply(await call.services.files.write_content(file_id, chunks, sha256=sha256))


def _expected(digest: str | None) -> str | None:
    if digest is None:
        return None
    found = _DIGEST.search(digest)
    if found is None:
        raise Refused({"Content-Digest": "has no sha-256=:base64: in it"})
    return base64.b64decode(found.group(1)).hex()


async def drop(call: Call) -> Reply:
    """DELETE content: forget the bytes of a file that has no record."""
    call.no_query()
    await call.body()
    await call.services.files.delete_content(clean_id("files", call.path_params["id"]))
    return json_reply({})


async def sign(call: Call) -> Reply:
    """POST signed-url: an address that serves the file to whoever has it, for a while."""
    call.no_query()
    body = object_of(await call.json(), {"expires": int})
    expires = body.get("expires", 3600)
    if not 1 <= expires <= LONGEST_LIFE:
        raise Refused({"expires": f"is {expires}; give 1 to {LONGEST_LIFE} seconds"})
    file_id = clean_id("files", call.path_params["id"])
    await call.services.files.get(file_id)
    signature = call.edge.signer.sign(call.identity.tenant_id, file_id, expires)
    return json_reply({"url": f"{call.edge.prefix}/files/{file_id}/content?signature={signature}"})


async def download(call: Call) -> Reply | Stream:
    """GET content: the bytes, or a range of them, by token or by signed address."""
    file_id = clean_id("files", call.path_params["id"])
    services = _reader(call, file_id)
    file = await services.files.get(file_id)
    headers = _described(file)
    known = call.header(b"if-none-match")
    if known is not None and _tag(file) in known.replace(" ", "").split(","):
        return Reply(304, headers)
    start, end, partial = _range(call, file)
    served = await services.files.download(file_id, start, end)
    headers.append((b"content-length", b"%d" % (served.end - served.start)))
    if partial:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (served.start, served.end - 1, file.size)))
    elif file.sha256:
        digest = base64.b64encode(bytes.fromhex(file.sha256))
        headers.append((b"repr-digest", b"sha-256=:%b:" % digest))
    status = 206 if partial else 200
    if call.method == "HEAD":
        return Stream(status, headers, _nothing())
    return Stream(status, headers, await _begun(served))


def _reader(call: Call, file_id: str) -> Services:
    parameters = dict(call.query)
    signature = parameters.pop("signature", None)
    for name in parameters:
        raise Refused({name: "is not a parameter here; leave it out"})
    if signature is None:
        return call.services
    identity = call.edge.signer.check(signature, file_id)
    call.edge.calls.take(f"{identity.tenant_id}/{call.address}")
    return call.edge.app.services(identity)


def _tag(file: File) -> str:
    return f'"{file.sha256}"'


def _described(file: File) -> Headers:
    """What is sent is never run by a browser on this origin: a download, in a sandbox, of the type that it was stored with."""
    kind = file.content_type.encode("latin-1", "replace")
    name = quote(file.name, safe="")
    return [
        (
            b"content-type",
            kind if kind.isascii() and b"\n" not in kind and b"\r" not in kind else b"application/octet-stream",
        ),
        (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cache-control", b"private, no-cache"),
        (b"accept-ranges", b"bytes"),
        (b"etag", _tag(file).encode()),
    ]


def _range(call: Call, file: File) -> tuple[int, int | None, bool]:
    """Start, end and whether it is a part. What is not one range in bytes is passed over, as HTTP says."""
    found = _RANGE.fullmatch(call.header(b"range") or "")
    condition = call.header(b"if-range")
    if found is None or found.groups() == ("", "") or (condition is not None and condition != _tag(file)):
        return 0, None, False
    first, last = found.groups()
    if not first:
        start, end = max(0, file.size - int(last)), file.size
    else:
        start, end = int(first), min(int(last) + 1, file.size) if last else file.size
        if last and int(last) < start:
            return 0, None, False
    if start >= file.size or start >= end:
        raise RangeOutside(file.size)
    return start, end, True


async def _nothing() -> AsyncIterator[bytes]:
    for _ in ():
        yield b""


async def _begun(served: Download) -> AsyncIterator[bytes]:
    """The bytes, their first piece already here: what is missing is a proper error, not a stream that breaks."""
    chunks: Any = aiter(served)
    first: bytes | None = await anext(chunks, None)
    return _rest(first, chunks)


async def _rest(first: bytes | None, chunks: Any) -> AsyncIterator[bytes]:
    try:
        if first is not None:
            yield first
            async for chunk in chunks:
                yield chunk
    finally:
        await chunks.aclose()
