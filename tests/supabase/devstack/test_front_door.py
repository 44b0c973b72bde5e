"""The front door's short way to PostgREST: one connection, every kind of request, in any order and in any pieces."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

from tests.patience import PATIENCE

from interlock.devstack import Stack
from interlock.identifiers import new_id


def connection(stack: Stack) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(stack.url).netloc, timeout=PATIENCE)


def ask(
    to: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: object = None
) -> tuple[int, bytes]:
    to.request(method, path, body, headers, encode_chunked=not isinstance(body, (bytes, type(None))))  # type: ignore[arg-type]  # an iterator is sent in chunks
    answer = to.getresponse()
    return answer.status, answer.read()


def test_one_connection_takes_every_kind_of_request(small: Stack) -> None:
    key = {"apikey": small.service_key, "content-type": "application/json"}
    note = new_id()
    row = json.dumps({"tenant_id": "door", "n": note}).encode()
    door = connection(small)
    for _ in range(2):
        assert ask(door, "GET", "/rest/v1/notes?limit=1", key)[0] == 200
        assert ask(door, "POST", "/rest/v1/notes", key, row)[0] == 201
        assert (
            ask(door, "POST", "/rest/v1/notes", {**key, "transfer-encoding": "chunked"}, iter([row[:9], row[9:]]))[0]
            == 201
        )
        assert ask(door, "GET", "/auth/v1/health", {})[0] == 200
        assert ask(door, "HEAD", "/rest/v1/notes", key) == (200, b"")
        assert ask(door, "GET", "/rest/v1/notes", {"apikey": "wrong"})[0] == 401
    found = json.loads(ask(door, "GET", f"/rest/v1/notes?select=n&n=eq.{note}", key)[1])
    assert len(found) == 4
    door.close()


def test_a_request_in_pieces_and_two_at_once(small: Stack) -> None:
    note = new_id()
    body = json.dumps([{"tenant_id": "door", "n": note}] * 500).encode()
    head = f"Host: door\r\nAPIKey: {small.service_key}\r\nContent-Type: application/json\r\n"
    post = (
        f"POST /rest/v1/notes HTTP/1.1\r\n{head}Prefer: return=minimal\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    get = f"GET /rest/v1/notes?select=count&n=eq.{note} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()
    host, port = urlsplit(small.url).netloc.split(":")
    with socket.create_connection((host, int(port)), 20) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(post), 4099):
            raw.sendall(post[at : at + 4099])
        raw.sendall(post + get)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    assert answer.count(b"HTTP/1.1 201") == 2
    assert answer.count(b"HTTP/1.1 ") == 3


def test_two_lengths_are_no_way_past_the_key(small: Stack) -> None:
    host, port = urlsplit(small.url).netloc.split(":")
    hidden = b"GET /rest/v1/notes HTTP/1.1\r\nHost: door\r\n\r\n"
    request = (
        f"POST /rest/v1/notes HTTP/1.1\r\nHost: door\r\napikey: {small.anon_key}\r\n"
        f"Content-Length: {len(hidden)}\r\nContent-Length: 0\r\n\r\n"
    ).encode()
    with socket.create_connection((host, int(port)), 20) as raw:
        raw.sendall(request + hidden)
        assert raw.recv(65536).startswith(b"HTTP/1.1 400")
