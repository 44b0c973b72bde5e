"""Files over HTTP: streamed, in ranges, hashed, and never run by a browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.gateway.conftest import PREFIX, Gateway

pytestmark = pytest.mark.anyio


async def stored(client: httpx.AsyncClient, content: bytes, **values: str) -> str:
    answer = await client.post(f"{PREFIX}/files", json={"name": 'höhe, "x".html', **values})
    assert answer.status_code == 201, answer.text
    path = f"{PREFIX}/files/{answer.json()['id']}/content"
    put = await client.put(path, content=content)
    assert put.json() == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return path


async def test_whole_and_ranges(gateway: Gateway) -> None:
    client = gateway.client()
    content = bytes(range(256)) * 1000
    path = await stored(client, content, contentType="text/html")
    answer = await client.get(path)
    assert answer.content == content
    assert answer.headers["content-length"] == str(len(content))
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''h%C3%B6he")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    for given, start, end in (("0-9", 0, 10), ("100-", 100, None), ("-7", len(content) - 7, None), ("5-5", 5, 6)):
        part = await client.get(path, headers={"Range": f"bytes={given}"})
        assert part.status_code == 206
        assert part.content == content[start:end]
        assert part.headers["content-range"].endswith(f"/{len(content)}")
    beyond = await client.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
    for odd in ("bytes=9-1", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-"):
        assert (await client.get(path, headers={"Range": odd})).status_code == 200
    head = await client.head(path)
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
    assert (await client.get(path, headers={"If-None-Match": answer.headers["etag"]})).status_code == 304
    stale = await client.get(path, headers={"Range": "bytes=0-1", "If-Range": '"old"'})
    assert stale.status_code == 200


async def test_a_digest_that_does_not_fit_is_refused(gateway: Gateway) -> None:
    client = gateway.client()
    path = await stored(client, b"first")
    wrong = base64.b64encode(hashlib.sha256(b"other").digest()).decode()
    answer = await client.put(path, content=b"second", headers={"Content-Digest": f"sha-256=:{wrong}:"})
    assert (answer.status_code, answer.json()["errors"].keys()) == (400, {"sha256"})
    assert (await client.get(path)).content == b"first"
    assert (await client.put(path, content=b"x", headers={"Content-Digest": "md5=:x:"})).status_code == 400


async def test_uploads_are_streamed_and_bounded(limited: Gateway) -> None:
    client = limited.client()

    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 512

    file = (await client.post(f"{PREFIX}/files", json={"name": "a.bin"})).json()
    path = f"{PREFIX}/files/{file['id']}/content"
    assert (await client.put(path, content=pieces(8))).json()["size"] == 4096
    too_much = await client.put(path, content=pieces(9))
    assert too_much.status_code == 413
    assert (await client.get(path)).headers["content-length"] == "4096"


async def test_bytes_that_are_not_there(gateway: Gateway) -> None:
    client = gateway.client()
    file = (await client.post(f"{PREFIX}/files", json={"name": "a.bin"})).json()
    assert (await client.get(f"{PREFIX}/files/{file['id']}/content")).status_code == 404
    assert (await client.get(f"{PREFIX}/files/01900000-0000-7000-8000-00000000dead/content")).status_code == 404
