"""Front ends' own data providers, unmodified from npm, drive the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import Gateway
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

CLIENTS = Path(__file__).parent / "clients"


async def seen_by(script: str, gateway: Gateway, missing: Callable[[str], None]) -> dict[str, Any]:
    if shutil.which("node") is None:
        missing("node")
    if not (CLIENTS / "node_modules").is_dir():
        missing("the npm packages of tests/gateway/clients (`npm ci`)")
    env = {"PATH": os.environ["PATH"], "GATEWAY_URL": gateway.url, "GATEWAY_TOKEN": gateway.token("admin")}
    process = await asyncio.create_subprocess_exec(
        "node",
        script,
        cwd=CLIENTS,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-3000:]
    seen: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return seen


def check_common(seen: dict[str, Any]) -> None:
    alpha, beta, gamma = "Alpha Works", "Beta Works", "Gamma Works"
    assert seen["created"] == [[alpha, 1, "north"], [beta, 1, "north"], [gamma, 1, "north"]]
    assert seen["firstPage"] == [[alpha, beta], 3]
    assert seen["secondPage"] == [[gamma], 3]
    assert seen["pastTheEnd"][0] == []
    assert seen["descending"] == [gamma, beta, alpha]
    assert seen["byField"] == [alpha, gamma]
    assert seen["byTwoFields"] == []
    assert seen["notEqual"] == [beta]
    assert seen["unknownField"]["status"] == 400
    assert "colour" in seen["unknownField"]["errors"]
    assert seen["one"] == alpha
    assert seen["missing"]["status"] == 404
    assert seen["many"] == [gamma, alpha]
    assert seen["updated"] == ["Bodø", beta, 2]
    assert seen["fieldErrors"]["status"] == 400
    assert seen["fieldErrors"]["errors"].keys() == {"companyName", "email", "status"}
    assert all(name in seen["fieldErrors"]["message"] for name in ("companyName", "email", "status"))
    assert seen["updateErrors"]["errors"].keys() == {"size"}
    assert seen["deleted"] == beta
    assert seen["afterDelete"] == [alpha, gamma]
    assert seen["deletedMany"] == 2
    assert seen["afterDeleteMany"] == []


@pytest.mark.parametrize("script", ["json_server.mjs", "simple_rest.mjs"])
async def test_react_admin(script: str, gateway: Gateway, missing: Callable[[str], None]) -> None:
    seen = await seen_by(script, gateway, missing)
    check_common(seen)
    assert seen["pastTheEnd"] == [[], 3]
    assert seen["byOperator"] == ["Beta Works", "Gamma Works"]
    assert seen["reference"] == [[["Works deal", "100.5"]], 1]
    assert seen["updatedMany"] == 2
    assert seen["afterUpdateMany"] == ["Alpha Works", "Gamma Works"]


async def test_refine(gateway: Gateway, missing: Callable[[str], None]) -> None:
    seen = await seen_by("refine.mjs", gateway, missing)
    check_common(seen)
    assert seen["withoutPaging"] == [3, 3]
    assert seen["twoSorters"] == ["Beta Works", "Alpha Works", "Gamma Works"]
    assert seen["byList"] == ["Beta Works"]
    assert seen["byOperator"] == ["Beta Works"]
    assert seen["contains"] == ["Gamma Works"]
