"""`interlock supabase …`: the schema made from the entities, and the local Supabase."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, cast

import typer

from interlock.cli.exits import exit_of
from interlock.cli.output import Output
from interlock.errors import InterlockError

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
