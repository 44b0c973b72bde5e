"""`interlock supabase …`: the schema made from the entities, and the local Supabase."""

from __future__ import annotations

import typer

__all__ = ["app"]

app = typer.Typer(
    name="supabase", help="The Supabase schema, and a local Supabase without docker.", no_args_is_help=True
)


@app.callback()
def _begin() -> None:
    """The Supabase schema, and a local Supabase without docker."""
