"""`interlock cache …`: the processes that share a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, cast

import typer

from interlock.cli.exits import Exit, exit_of
from interlock.cli.output import Output
from interlock.errors import InterlockError, Misconfigured, Unavailable
from interlock.layers.shared import Membership
from interlock.settings import Settings

__all__ = ["app"]

app = typer.Typer(name="cache", help="The cache that several processes share.", no_args_is_help=True)


@app.callback()
def _begin() -> None:
    """The cache that several processes share."""


@app.command()
def members(context: typer.Context) -> None:
    """Show the processes that share the cache. While one of them cannot reach the server, nobody is served from it."""
    output = cast("Output", context.obj)

    async def show(membership: Membership) -> int:
        found = [one for one in membership.members() if not one.here]
        if output.json:
            output.data(found)
        else:
            rows = ((one.id, f"silent for {one.lapsed:.0f} s" if one.lapsed else "in touch") for one in found)
            output.table(("process", ""), rows, whole=True)
        return Exit.FAILED if any(one.lapsed for one in found) else Exit.OK

    _run(output, show)


@app.command()
def forget(
    context: typer.Context,
    process: Annotated[str, typer.Argument(help="As `interlock cache members` shows it; its first word is enough.")],
) -> None:
    """Go on without a process that is known to be dead. One that only cannot reach the server may still write: end it first."""
    output = cast("Output", context.obj)

    async def remove(membership: Membership) -> int:
        named = [one.id for one in membership.members() if process in (one.id, one.id.partition(" ")[0])]
        if not named or not await membership.forget_member(named[0]):
            output.say(f"there is no silent process {process}")
            return Exit.NOT_FOUND
        output.say(f"{named[0]} is forgotten")
        return Exit.OK

    _run(output, remove)


def _run(output: Output, work: Callable[[Membership], Awaitable[int]]) -> None:
    """Join the processes for the length of a command."""

    async def joined() -> int:
        from interlock.pipelines import redis_store

        url = Settings.load().redis_url
        if url is None:
            raise Misconfigured(["INTERLOCK_REDIS_URL: is not set; set it to the server that the processes share"])
        membership = Membership(redis_store(url.get_secret_value()))
        try:
            await membership.start()
            if not membership.member_of:
                raise Unavailable(f"the shared cache's server is away ({membership.state}); see INTERLOCK_REDIS_URL")
            return await work(membership)
        finally:
            await membership.aclose()

    try:
        code = asyncio.run(joined())
    except InterlockError as error:
        output.error(error)
        raise typer.Exit(exit_of(error)) from error
    raise typer.Exit(code)
