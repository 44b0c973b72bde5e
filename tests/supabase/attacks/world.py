"""Two tenants with rows and files, and everybody who attacks: what each is sent is searched for what is tenant A's."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from supabase.lib.client_options import SyncClientOptions
from tests.patience import PATIENCE

from interlock.identifiers import new_id
from supabase import Client, create_client

TABLES = (
    "customers", "tags", "stages", "deals", "tickets", "comments", "contracts", "users", "notifications", "files", "audit", "changes",
)  # fmt: skip
"""Every table that PostgREST serves."""

PASSWORD = "correct-horse-battery"


def encoded(value: object) -> str:
    """A part of a JWT: JSON in base64, without padding."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(
    claims: Mapping[str, Any], secret: str, *, algorithm: str = "HS256", header: Mapping[str, Any] | None = None
) -> str:
    """A JWT of our own making; `none` signs nothing."""
    head = encoded({"alg": algorithm, "typ": "JWT", **(header or {})})
    body = f"{head}.{encoded(dict(claims))}"
    if algorithm == "none":
        return f"{body}."
    digest = {"HS256": hashlib.sha256, "HS512": hashlib.sha512}[algorithm]
    return f"{body}.{encoded(hmac.new(secret.encode(), body.encode(), digest).digest())}"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def ok(self) -> bool:
        """True for 2xx."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.text)

    @property
    def rows(self) -> list[Any]:
        """The body as rows; no answer but a list will do."""
        assert self.status in (200, 201, 206), f"{self.status}: {self.text}"
        rows = self.json
        assert isinstance(rows, list), self.text
        return rows

    @property
    def total(self) -> str:
        """What Content-Range says of the number of rows."""
        return self.headers.get("content-range", "").rpartition("/")[2]

    @property
    def refused(self) -> bool:
        """True for 4xx: who asked may not, or there is no such thing."""
        return 400 <= self.status < 500


@dataclass
class Persona:
    """Somebody with a key and perhaps a token. `watched`: nothing of tenant A may come back to them."""

    world: World = field(repr=False)
    name: str
    key: str | None = field(repr=False)
    token: str | None = field(default=None, repr=False)
    watched: bool = True
    user_id: str = ""

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send exactly this: the path is not tidied up, so that tricks arrive as they were made."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"content-type": "application/json"} if data is not None else {}
        if self.key is not None:
            given["apikey"] = self.key
        if self.token is not None:
            given["authorization"] = f"Bearer {self.token}"
        given.update({name.lower(): value for name, value in (headers or {}).items()})
        given = {name: value for name, value in given.items() if value}
        reply = self.world.exchange(method, path, data, given)
        if self.watched:
            self.world.touched |= method not in ("GET", "HEAD", "OPTIONS")
            said = " ".join((path, (data or b"").decode(errors="replace"), *given.values()))
            self.world.check(said, f"{reply.headers} {reply.text}")
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        """GET below /rest/v1."""
        return self.send("GET", f"/rest/v1/{path}", headers=_named(headers))

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST below /rest/v1."""
        return self.send("POST", f"/rest/v1/{path}", body, {"prefer": "return=representation", **_named(headers)})

    def patch(self, path: str, body: Any, **headers: str) -> Reply:
        """PATCH below /rest/v1."""
        return self.send("PATCH", f"/rest/v1/{path}", body, {"prefer": "return=representation", **_named(headers)})

    def delete(self, path: str, **headers: str) -> Reply:
        """DELETE below /rest/v1."""
        return self.send("DELETE", f"/rest/v1/{path}", headers={"prefer": "return=representation", **_named(headers)})

    def rpc(self, function: str, **arguments: Any) -> Reply:
        """Call a function of the database."""
        return self.send("POST", f"/rest/v1/rpc/{function}", arguments)

    @cached_property
    def client(self) -> Client:
        """The official client, with this token; what it is answered is searched too."""
        self.world.touched = True
        checking = httpx.Client(event_hooks={"response": [self._seen]}, timeout=PATIENCE)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        options = SyncClientOptions(httpx_client=checking, headers=headers, auto_refresh_token=False)
        client = create_client(self.world.url, self.key or "none", options)
        self.world.clients.append(checking)
        return client

    def _seen(self, response: httpx.Response) -> None:
        if self.watched:
            response.read()
            request = response.request
            content = request.read().decode(errors="replace")
            said = " ".join((str(request.url), content, *request.headers.values()))
            self.world.check(said, f"{response.headers} {response.text}")


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


class Leak(AssertionError):
    """Something of tenant A came back to somebody else."""


@dataclass
class World:
    """A project with tenants A and B in it."""

    url: str
    anon_key: str = field(repr=False)
    service_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    superuser: str = field(default="", repr=False)
    clients: list[httpx.Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.canaries: tuple[str, ...] = ()
        self.settled = ""
        self.a = str(new_id())
        self.touched = False
        self.mark = f"zq{secrets.token_hex(6)}"
        self.mail_mark = f"mq{secrets.token_hex(6)}"
        self.file_mark = f"fq{secrets.token_hex(6)}"
        self.service = Persona(self, "service", self.service_key, watched=False)
        self.anon = Persona(self, "anon", self.anon_key)
        self.nobody = Persona(self, "nobody", None)
        self.admin_a = self.member(self.a, "admin", watched=False)
        self.manager_a = self.member(self.a, "manager", watched=False)
        self.agent_a = self.member(self.a, "agent", watched=False)
        self.viewer_a = self.member(self.a, "viewer", watched=False)
        self.stray = Persona(self, "stray", self.anon_key, self.mint(app_metadata={}))
        self.ids = self._fill(self.a, self.mark, self.mail_mark, many=300)
        self.path = f"{self.a}/{self.ids['files']}"
        self._upload(self.admin_a, self.path, self.file_mark)
        self.renew_b()
        self.canaries = (self.mark, self.mail_mark, self.file_mark, self.a, *self.ids.values(), *(
            persona.user_id for persona in (self.admin_a, self.manager_a, self.agent_a, self.viewer_a)
        ))  # fmt: skip

    def renew_b(self) -> None:
        """A new tenant B, with the same things in it as the one before had at first: no attack finds what another one left."""
        self.b_tenant = str(new_id())
        self.b = self.login(self.b_tenant, "admin")
        self.agent_b = self.member(self.b_tenant, "agent")
        self.own = self._fill(self.b_tenant, "own", "own", many=5)
        self.own_path = f"{self.b_tenant}/{self.own['files']}"
        self._upload(self.b, self.own_path, "own file")
        self.touched = False

    def _upload(self, persona: Persona, path: str, text: str) -> None:
        reply = persona.send("POST", f"/storage/v1/object/files/{path}", text.encode(), {"content-type": "text/plain"})
        assert reply.ok, reply

    # -- people ---------------------------------------------------------------------------------------------------

    def mint(self, secret: str | None = None, *, algorithm: str = "HS256", **claims: Any) -> str:
        """A token as the project makes them, with claims of one's own; a claim of None is left out."""
        now = int(time.time())
        whole = {
            "iss": f"{self.url}/auth/v1", "sub": str(new_id()), "aud": "authenticated", "role": "authenticated", "iat": now, "exp": now + 3600,
            **claims,
        }  # fmt: skip
        kept = {name: value for name, value in whole.items() if value is not None}
        return signed(kept, self.jwt_secret if secret is None else secret, algorithm=algorithm)

    def member(self, tenant: str, role: str, *, watched: bool = True, user_id: str | None = None) -> Persona:
        """Somebody of a tenant, with a token made as Interlock makes them."""
        user = user_id or str(new_id())
        token = self.mint(sub=user, app_metadata={"tenant_id": tenant, "role": role, "user_id": user})
        return Persona(self, f"{role} of {'A' if tenant == self.a else 'B'}", self.anon_key, token, watched, user)

    def account(self, metadata: Mapping[str, Any], **more: Any) -> tuple[str, str]:
        """A new account, made by the administration: its address and its id."""
        email = f"{secrets.token_hex(6)}@accounts.test"
        given = {"email": email, "password": PASSWORD, "email_confirm": True, "app_metadata": dict(metadata), **more}
        reply = self.service.send("POST", "/auth/v1/admin/users", given)
        assert reply.ok, reply.text
        return email, reply.json["id"]

    def login(self, tenant: str, role: str, *, watched: bool = True) -> Persona:
        """Somebody of a tenant, logged in at Supabase's own auth."""
        email, user = self.account({"tenant_id": tenant, "role": role})
        persona = Persona(self, f"{role} logged in", self.anon_key, None, watched, user)
        reply = persona.send("POST", "/auth/v1/token?grant_type=password", {"email": email, "password": PASSWORD})
        assert reply.ok, reply.text
        persona.token = reply.json["access_token"]
        return persona

    def bearing(self, token: str, name: str = "forger") -> Persona:
        """Somebody with just this token."""
        return Persona(self, name, self.anon_key, token)

    # -- what is watched ------------------------------------------------------------------------------------------

    def check(self, sent: str, received: str) -> None:
        """Raise where something of A came back that who asked had not said themselves."""
        said, got = unquote(sent).lower(), received.lower()
        found = [canary for canary in self.canaries if canary in got and canary not in said]
        if found:
            raise Leak(f"{found} came back: {received[:600]}")

    def settle(self) -> None:
        """What A has now is how it must be after a strike."""
        self.settled = self.state()

    def state(self) -> str:
        """A digest of everything that A has."""
        digest = hashlib.sha256()
        for table in TABLES:
            order = "position" if table == "changes" else "id"
            reply = self.service.get(f"{table}?tenant_id=eq.{self.a}&order={order}")
            digest.update(f"{reply.status}{reply.text}".encode())
        listed = self.service.send("POST", "/storage/v1/object/list/files", {"prefix": f"{self.a}/", "limit": 100})
        digest.update("".join(sorted(entry["name"] for entry in listed.json)).encode())
        digest.update(self.service.send("GET", f"/storage/v1/object/files/{self.path}").text.encode())
        return digest.hexdigest()

    def analyze(self) -> None:
        """Let the planner count the rows, where the database is ours; a hosted one does it by itself."""
        if self.superuser:
            subprocess.run(["psql", self.superuser, "-qc", "analyze"], check=True, capture_output=True)

    # -- wire -----------------------------------------------------------------------------------------------------

    def exchange(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> Reply:
        """One request over a connection of its own."""
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.netloc, timeout=PATIENCE)
        try:
            connection.putrequest(
                method, quote(path, safe="/?&=%:;,.*()+@!$'~[]{}\"<>|\\^`#-_"), skip_accept_encoding=True
            )
            for name, value in headers.items():
                connection.putheader(name, value)
            if data is not None:
                connection.putheader("content-length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            body = answer.read().decode(errors="replace")
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, body)
        finally:
            connection.close()

    def close(self) -> None:
        """Close the clients that were made."""
        for client in self.clients:
            client.close()

    # -- rows -----------------------------------------------------------------------------------------------------

    def _fill(self, tenant: str, mark: str, mail: str, *, many: int) -> dict[str, str]:
        ids = {table: new_id() for table in TABLES if table not in ("audit", "changes")}
        place = "SRID=4326;POINT(13.4 52.5)"
        rows: dict[str, list[dict[str, Any]]] = {
            "customers": [
                {"id": ids["customers"], "company_name": f"{mark} Works", "email": f"{mail}@a.test", "notes": f"secret {mark}",
                 "city": f"{mark}ville", "location": place, "tags": [mark]},
                *({"id": new_id(), "company_name": f"{mark} {i}", "email": f"{mail}{i}@a.test", "notes": mark, "city": f"{mark}ville",
                   "location": place, "tags": [mark]} for i in range(many)),
            ],
            "tags": [{"name": f"{mark} tag"}],
            "stages": [{"label": f"{mark} stage", "position": 1, "type": "open"}],
            "deals": [{"title": f"{mark} deal", "customer_id": ids["customers"], "stage_id": ids["stages"], "amount": "12345.67"}],
            "tickets": [{"subject": f"{mark} ticket", "customer_id": ids["customers"]}],
            "comments": [{"ticket_id": ids["tickets"], "body": f"{mark} comment"}],
            "contracts": [{"customer_id": ids["customers"], "title": f"{mark} contract", "value": "99.5", "start_date": "2026-01-01"}],
            "users": [{"email": f"{mail}-user@a.test", "display_name": f"{mark} person", "role": "agent"},
                      {"id": new_id(), "email": f"{mail}-admin@a.test", "display_name": f"{mark} head", "role": "admin"}],
            "notifications": [{"user_id": ids["users"], "kind": "note", "title": f"{mark} note"}],
            "files": [{"name": f"{mark}.txt", "content_type": "text/plain", "size": 14}],
        }  # fmt: skip
        for table, values in rows.items():
            given = [{"tenant_id": tenant, "id": ids[table], **row} for row in values]
            reply = self.service.send("POST", f"/rest/v1/{table}", given, {"prefer": "return=minimal"})
            assert reply.ok, f"{table}: {reply.text}"
        entries = self.service.get(
            f"audit?tenant_id=eq.{tenant}&target=eq.customers&record_id=eq.{ids['customers']}&select=id"
        )
        ids["audit"] = entries.rows[0]["id"]
        return ids
