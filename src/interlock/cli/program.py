"""The commands, as Typer reads them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer

from interlock.cli.caches import app as cache
from interlock.cli.exits import Exit, exit_of
from interlock.cli.output import Output
from interlock.cli.supabase import app as supabase
from interlock.errors import InterlockError, Invalid, Misconfigured, Unavailable
from interlock.observability.logs import configure
from interlock.settings import BACKENDS, SERVICES, Settings

__all__ = ["build", "main"]

JSON_FLAG: Final = "--json"

As = Annotated[str | None, typer.Option("--as", metavar="EMAIL", help="Who calls; admin@acme.test on demo data.")]
Resource = Annotated[str, typer.Option("--resource", help="What kind of record.")]


def _output(context: typer.Context) -> Output:
    return cast("Output", context.obj)


def _finish(context: typer.Context, work: Coroutine[Any, Any, int | None]) -> None:
    """Run a command to its end; errors become a message and an exit code."""
    try:
        code = asyncio.run(work)
    except InterlockError as error:
        _output(context).error(error)
        raise typer.Exit(exit_of(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(code or Exit.OK)


def _read() -> Settings:
    """The settings; beside a product that brings a real API of its own, with that API in them."""
    from interlock.cli.running import running

    settings = Settings.load(embedded=True)
    found = running(settings.home)
    return settings if found is not None and found.api is not None else Settings.load()


def _load(context: typer.Context, *, embedded: bool = False) -> Settings:
    """The settings of a command, which says on standard error what goes wrong meanwhile, and prints nothing but its answer."""
    try:
        settings = Settings.load(embedded=True) if embedded else _read()
    except Misconfigured as error:
        _output(context).error(error)
        raise typer.Exit(Exit.USAGE) from error
    configure(logging.DEBUG if settings.debug else logging.WARNING)
    return settings


def up(context: typer.Context) -> None:
    """Start everything on embedded defaults: the real API, the gateway, demo data. Ctrl-C stops it all."""
    from interlock.cli.up import up as run

    _finish(context, run(_load(context, embedded=True), _output(context)))


def serve(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Listen on this port.")] = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address.")] = None,
    api: Annotated[bool, typer.Option("--api", help="Serve the reference real API: every service on sql.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """Serve the gateway over the configured backends. SIGHUP, or an edited .env or interlock.toml, switches services."""
    from interlock.cli.serving import serve as run

    def load() -> Settings:
        settings = Settings.load(embedded=child)
        changes: dict[str, Any] = {}
        if host is not None:
            changes["host"] = host
        if api:
            changes |= {"api_mode": "sql", "backends": {}, "port": settings.api_port}
        if api and child:
            changes["database_url"] = None
        if port is not None:
            changes["port"] = port
        return settings.model_copy(update=changes)

    try:
        settings = load()
    except Misconfigured as error:
        _output(context).error(error)
        raise typer.Exit(Exit.USAGE) from error
    variable = "--port" if port else "INTERLOCK_API_PORT" if api else "INTERLOCK_PORT"
    _finish(context, run(settings, load, _output(context), variable=variable, child=child))


def status(
    context: typer.Context,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also each service's layers, their settings and state.")
    ] = False,
) -> None:
    """Show each service: its backend, epoch, stage, health and latency."""
    _finish(context, _status(_load(context), _output(context), layers=layers))


async def _status(settings: Settings, output: Output, *, layers: bool) -> int:
    from interlock.app import App
    from interlock.cli.output import plain
    from interlock.cli.running import Remote, running

    found = running(settings.home)
    if found is not None:
        async with Remote.open(settings, found) as remote:
            rows = await remote.status()
    else:
        output.note("nothing runs here; this is what the configuration gives")
        settings.check()
        app = await App.open(settings)
        try:
            rows = [{name: getattr(row, name) for name in row.__dataclass_fields__} for row in await app.status()]
        finally:
            await app.aclose()
    if output.json:
        output.data(plain(rows))
    else:
        output.table(
            ("service", "backend", "epoch", "stage", "health", "latency", ""),
            (
                (
                    *(row.get(name) for name in ("service", "backend", "epoch", "stage", "health")),
                    "" if row.get("latency") is None else f"{row['latency'] * 1000:.2f} ms",
                    row.get("detail", ""),
                )
                for row in rows
            ),
        )
        if layers:
            output.say("")
            output.table(("service", "layer", "settings and state"), _layers(rows), whole=True)
    return Exit.OK if all(row.get("health") == "healthy" for row in rows) else Exit.UNAVAILABLE


def _layers(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for row in rows:
        for name, told in (row.get("layers") or {}).items():
            yield str(row["service"]), name, ", ".join(f"{field} {value}" for field, value in told.items())


def _services(incomplete: str) -> list[str]:
    return [name for name in (*SERVICES, "all") if name.startswith(incomplete)]


def _backends(incomplete: str) -> list[str]:
    return [name for name in BACKENDS if name.startswith(incomplete)]


def switch(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="Which service, or all.", autocompletion=_services)],
    backend: Annotated[str, typer.Argument(help="Where to.", autocompletion=_backends)],
) -> None:
    """Serve a service from another backend, or `all` of them, while the product runs. Calls in flight finish where they began."""
    _finish(context, _switch(_load(context), _output(context), service, backend))


async def _switch(settings: Settings, output: Output, service: str, backend: str) -> None:
    from interlock.cli.running import Remote, running

    found = running(settings.home)
    if found is None:
        raise Unavailable(
            f"nothing runs out of {settings.home}; start it with interlock up, or set "
            + ("INTERLOCK_API_MODE" if service == "all" else f"INTERLOCK_{service.upper()}_BACKEND")
        )
    async with Remote.open(settings, found) as remote:
        done = await remote.switch(service, backend)
    if output.json:
        output.data(done)
        return
    switches = done if isinstance(done, list) else [done]
    for each in switches:
        output.say(f"{each['service']}: {each['old']} → {each['backend']}, epoch {each['epoch']}")
    if not switches:
        output.say(f"every service is on {backend} already")


def doctor(context: typer.Context) -> None:
    """Check configuration, packages, ports and backends, and say what to mend."""
    from interlock.cli.doctor import doctor as run

    _finish(context, run(_read, _output(context)))


def seed(
    context: typer.Context,
    size: Annotated[int | None, typer.Option(min=0, max=100_000, help="Customers of each tenant.")] = None,
    number: Annotated[int | None, typer.Option("--seed", help="What the data is drawn from.")] = None,
) -> None:
    """Make demo tenants, users and records in the embedded database. Never in one of your own."""
    _finish(context, _seed(_load(context), _output(context), size, number))


async def _seed(settings: Settings, output: Output, size: int | None, number: int | None) -> None:
    from interlock.embedded import DEMO_USERS, seed_database

    chosen = {"seed_size": size, "seed": number}
    settings = settings.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    await seed_database(settings)
    users = [user.email for user in DEMO_USERS]
    if output.json:
        output.data({"database": str(settings.home / "interlock.db"), "users": users})
    else:
        output.say(f"seeded {settings.home / 'interlock.db'}; users: {', '.join(users)}")


def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV, JSON, NDJSON or XLSX file.")],
    resource: Resource = "customers",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Report only; write nothing.")] = False,
    map: Annotated[
        list[str] | None, typer.Option("--map", metavar="COLUMN=FIELD", help="Override a column's field.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="The file's encoding, where it is not guessed right.")] = None,
    sheet: Annotated[str | None, typer.Option(help="The sheet of an XLSX file.")] = None,
    user: As = None,
) -> None:
    """Import records from a file. Bad rows are reported with line, field and reason, good rows kept; twice adds nothing."""

    async def run(settings: Settings, output: Output) -> int:
        from interlock.cli.session import services
        from interlock.cli.transfers import import_file, mapping_of

        options = {"mapping": mapping_of(map or ()), "encoding": encoding, "sheet": sheet}
        async with services(settings, output, user) as crm:
            return await import_file(crm, output, file, resource, dry_run=dry_run, **options)

    _finish(context, run(_load(context), _output(context)))


def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to; .csv, .json, .ndjson or .xlsx.")],
    resource: Resource = "customers",
    format: Annotated[str | None, typer.Option(help="csv, json, ndjson or xlsx, where the name does not say.")] = None,
    columns: Annotated[str | None, typer.Option(help="Fields, in order, with commas.")] = None,
    search: Annotated[str | None, typer.Option(help="Only what this finds.")] = None,
    sort: Annotated[str, typer.Option(help="Such as -created_at,company_name.")] = "",
    user: As = None,
) -> None:
    """Export records to a file, which appears whole or not at all."""

    async def run(settings: Settings, output: Output) -> None:
        from interlock.cli.session import services
        from interlock.cli.transfers import export_file

        chosen = tuple(columns.split(",")) if columns else None
        async with services(settings, output, user) as crm:
            await export_file(
                crm, output, file, resource, format=cast("Any", format), columns=chosen, search=search, sort=sort
            )

    _finish(context, run(_load(context), _output(context)))


def call(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="SERVICE.OPERATION", help="Such as customers.list.")],
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Parameters, filters, fields.")
    ] = None,
    user: As = None,
) -> None:
    """Call any operation of any service: `call customers.list status=active limit=5`."""

    async def run(settings: Settings, output: Output) -> None:
        from interlock.cli.calls import call as call_operation
        from interlock.cli.running import running
        from interlock.cli.session import services

        over_http = running(settings.home) is not None
        async with services(settings, output, user) as crm:
            await call_operation(crm, output, target, words or (), over_http=over_http)

    _finish(context, run(_load(context), _output(context)))


def bench(
    context: typer.Context,
    backends: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BACKEND]...", help="Which; all that are configured by default.", autocompletion=_backends
        ),
    ] = None,
    service: Annotated[str, typer.Option(help="customers, sales, tickets or contracts.")] = "customers",
    verbs: Annotated[
        str | None,
        typer.Option(help="Of get, find, search, aggregate, create, update, delete, restore; with commas."),
    ] = None,
    calls: Annotated[int | None, typer.Option(help="Calls of each verb at each backend.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Seconds for each verb at each backend, in place of calls; 1 by default.")
    ] = None,
    concurrency: Annotated[str, typer.Option(help="Calls at once; several numbers with commas.")] = "1,10",
    records: Annotated[int, typer.Option(help="Records that are there to be read.")] = 500,
    bare: Annotated[
        bool, typer.Option("--bare", help="Also each backend alone: what services and layers cost or gain.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a picture (.svg, .png, .html) or the figures (.json).")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before writing to a backend in production or on another machine.")
    ] = False,
) -> None:
    """Compare backends side by side: the same calls on each, in turns, by verb. Works in tenants of its own and cleans up."""

    async def run(settings: Settings, output: Output) -> int:
        from interlock.cli.benching import bench as measure
        from interlock.cli.benching import plan_of

        plan = plan_of(
            settings,
            backends=backends or (),
            service=service,
            verbs=verbs,
            concurrency=concurrency,
            calls=calls,
            seconds=seconds,
            records=records,
            bare=bare,
            out=out,
        )
        return await measure(settings, plan, output, yes=yes)

    _finish(context, run(_load(context), _output(context)))


def token(
    context: typer.Context,
    email: Annotated[str | None, typer.Argument(help="Who; admin@acme.test on demo data.")] = None,
) -> None:
    """Print an access token, to call the gateway with: `curl -H "Authorization: Bearer $(interlock token)" ...`."""

    async def run(settings: Settings, output: Output) -> None:
        from interlock.cli.session import services

        async with services(settings, output, email) as crm:
            session = crm.session
            if session is None:
                raise Invalid({"email": "has no session; log in first"})
            if output.json:
                output.data({"accessToken": session.access_token, "expiresAt": session.expires_at})
            else:
                output.console.out(session.access_token, highlight=False)

    _finish(context, run(_load(context), _output(context)))


def migrate(context: typer.Context) -> None:
    """Bring the sql backend's database to this version's tables."""

    async def run(settings: Settings, output: Output) -> None:
        from interlock.embedded import migrate_database

        await migrate_database(settings)
        if output.json:
            output.data({"migrated": True})
        else:
            output.say("the database is at this version's tables")

    _finish(context, run(_load(context), _output(context)))


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"interlock {version('interlock')}\n")
        raise typer.Exit


def _begin(
    context: typer.Context,
    json: Annotated[bool, typer.Option(JSON_FLAG, help="Print JSON and nothing else.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Ten business services whose backends are chosen per service and switched while running."""
    context.obj = Output(json=json)


def build() -> typer.Typer:
    """The whole program."""
    program = typer.Typer(name="interlock", no_args_is_help=True, pretty_exceptions_enable=False)
    program.callback()(_begin)
    for command in (up, serve, status, switch, doctor, seed, import_, export, call, bench, token, migrate):
        program.command(command.__name__.rstrip("_"))(command)
    program.add_typer(supabase)
    program.add_typer(cache)
    return program


def main() -> None:
    """The entry point. `--json` is accepted anywhere on the line."""
    words = sys.argv[1:]
    code = int(Exit.OK)
    if JSON_FLAG in words:
        words = [JSON_FLAG, *(word for word in words if word != JSON_FLAG)]
    try:
        build()(words, prog_name="interlock")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else Exit.OK if done.code is None else Exit.FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is closed by now. pyreqwest's threads sometimes abort the interpreter while it is taken down, and an exit code must
    # be the command's own.
    os._exit(code)
