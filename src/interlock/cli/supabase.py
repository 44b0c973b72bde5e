"""`interlock supabase …`: the schema made from the entities, and the local Supabase."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from interlock.cli.exits import exit_of
from interlock.cli.output import Output
from interlock.errors import InterlockError
from interlock.settings import Settings

__all__ = ["app"]

app = typer.Typer(
    name="supabase", help="The Supabase schema, and a local Supabase without docker.", no_args_is_help=True
)


@app.callback()
def _begin() -> None:
    """The Supabase schema, and a local Supabase without docker."""


@app.command()
def generate(
    context: typer.Context,
    entities: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="Your own entities; Interlock's by default.")
    ] = None,
    project: Annotated[Path, typer.Option(help="The folder with schemas/ and migrations/.")] = Path("supabase"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail where a file differs.")] = False,
    migration: Annotated[
        str | None, typer.Option(metavar="NAME", help="Also write a migration that makes the new tables.")
    ] = None,
) -> None:
    """Write the tables, policies and triggers of entities into schema files."""
    from interlock.cli.generating import generate as run

    output = cast("Output", context.obj)
    try:
        code = run(output, project, entities, check=check, migration=migration, now=datetime.now(UTC))
    except InterlockError as error:
        output.error(error)
        raise typer.Exit(exit_of(error)) from error
    raise typer.Exit(code)


ShowKeys = Annotated[bool, typer.Option("--show-keys", help="Also print its keys, which are secrets.")]


def _output(context: typer.Context) -> Output:
    return cast("Output", context.obj)


def _settings() -> Settings:
    return Settings.load(embedded=True)


def _finish(context: typer.Context, work: Coroutine[Any, Any, int]) -> None:
    try:
        code = asyncio.run(work)
    except InterlockError as error:
        _output(context).error(error)
        raise typer.Exit(exit_of(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code)


@app.command()
def start(context: typer.Context, show_keys: ShowKeys = False) -> None:
    """Start the local Supabase, and leave it running: database, REST, auth, storage, realtime and functions on one port."""

    async def run() -> int:
        from interlock.cli.local_supabase import start

        return await start(_settings(), _output(context), show_keys=show_keys)

    _finish(context, run())


@app.command()
def stop(context: typer.Context) -> None:
    """Stop the local Supabase. Its data stay."""

    async def run() -> int:
        from interlock.cli.local_supabase import stop

        return await stop(_settings(), _output(context))

    _finish(context, run())


@app.command()
def status(context: typer.Context, show_keys: ShowKeys = False) -> None:
    """Say whether the local Supabase runs, where, and which of its parts answer."""

    async def run() -> int:
        from interlock.cli.local_supabase import status

        return await status(_settings(), _output(context), show_keys=show_keys)

    _finish(context, run())


@app.command()
def reset(context: typer.Context, show_keys: ShowKeys = False) -> None:
    """Throw the local Supabase's data away, and start it anew from the migrations."""

    async def run() -> int:
        from interlock.cli.local_supabase import reset

        return await reset(_settings(), _output(context), show_keys=show_keys)

    _finish(context, run())


@app.command(hidden=True)
def serve(context: typer.Context) -> None:
    """Run the local Supabase until SIGTERM: what `start` leaves behind."""

    async def run() -> int:
        from interlock.cli.local_supabase import serve

        return await serve(_settings(), _output(context))

    _finish(context, run())
