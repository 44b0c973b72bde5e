"""A token that runs out while its request is answered."""

from __future__ import annotations

import json
import os
import subprocess
import time

import jwt
import pytest
from tests.patience import PATIENCE

from interlock.devstack.programs import find_programs

SECRET = "a secret of the tests' own, long enough"
NEEDS = (
    "DATABASE_URL", "ANON_KEY", "SERVICE_KEY", "LITE_PUBLISHABLE_KEY", "LITE_SECRET_KEY", "MAILS", "REST_PORT", "RELAY_PORT", "FUNCTIONS_PORT",
)  # fmt: skip
SCRIPT = """
const { storage } = await import(process.argv[1]);
const url = new URL(process.argv[2]);
const headers = { authorization: `Bearer ${process.argv[3]}` };
const Clock = Date;
let ahead = 0;
globalThis.Date = class extends Clock {
  constructor(...parts) {
    super(...(parts.length ? parts : [Clock.now() + ahead]));
  }
  static now() {
    return Clock.now() + ahead;
  }
};
let given;
const lite = async (request) => {
  given = request.url;
  ahead = 7_200_000;
  return Response.json({ error: "the token has expired" }, { status: 500 });
};
const answer = await storage(new Request(url, { headers }), url, lite);
console.log(JSON.stringify([given !== undefined, answer.status, (await answer.json()).error]));
"""
URL = "http://127.0.0.1/storage/v1/object"


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize(("way", "error"), [("sign", "InvalidJWT"), ("authenticated", "Unauthorized")])
def test_storage_says_that_it_has_run_out(way: str, error: str) -> None:
    programs = find_programs()
    token = jwt.encode({"role": "authenticated", "exp": int(time.time()) + 3600}, SECRET, "HS256")
    place = f"{URL}/{way}/files/acme/a" + (f"?token={token}" if way == "sign" else "")
    settings = {f"STACK_{name}": "1" for name in NEEDS}
    done = subprocess.run(
        [
            programs.node,
            "--input-type=module",
            "-e",
            SCRIPT,
            programs.sources / "gateway" / "storage.mjs",
            place,
            token,
        ],
        env={**os.environ, **settings, "STACK_PORT": "1", "STACK_JWT_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert json.loads(done.stdout) == [True, 400, error]
