"""Reads customers over HTTP without a pause while `customers` is switched to `real` and back, and counts what failed.

Run it beside `make run`. It speaks to the gateway as any client does; the switches are an admin's calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

GATEWAY = f"http://127.0.0.1:{os.environ.get('INTERLOCK_PORT', '8000')}/api/v1"
READERS = 4
SWITCHES = ("real", "mock", "real", "mock")


def call(method: str, path: str, token: str = "", body: Any = None) -> Any:
    """One call of the gateway; raises HTTPError where it is refused."""
    request = urllib.request.Request(
        f"{GATEWAY}{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


async def read(token: str, seen: Counter[str], done: asyncio.Event) -> None:
    """Read a page again and again until told to stop."""
    while not done.is_set():
        try:
            await asyncio.to_thread(call, "GET", "/customers?_limit=20", token)
            seen["read"] += 1
        except (OSError, ValueError) as error:
            seen["failed"] += 1
            seen[str(error)] += 1


async def main() -> None:
    """Log in, read, switch four times, tell."""
    login = {"email": "admin@acme.test", "password": "interlock-demo"}
    token = (await asyncio.to_thread(call, "POST", "/auth/login", "", login))["accessToken"]
    seen: Counter[str] = Counter()
    served = []
    done = asyncio.Event()
    readers = [asyncio.create_task(read(token, seen, done)) for _ in range(READERS)]
    for backend in SWITCHES:
        before = seen["read"]
        while seen["read"] < before + 25 and not seen["failed"]:
            await asyncio.sleep(0)
            await asyncio.to_thread(call, "GET", "/customers?_limit=1", token)
        switched = await asyncio.to_thread(
            call, "POST", "/_switch", token, {"service": "customers", "backend": backend}
        )
        served.append(switched["old"])
    done.set()
    await asyncio.gather(*readers)
    print(f"{seen['read']} reads, {seen['failed']} failed; answered by {' and '.join(sorted(set(served)))}")


if __name__ == "__main__":
    asyncio.run(main())
