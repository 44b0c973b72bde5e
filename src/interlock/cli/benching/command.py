"""The command: asks where it must, measures, cleans up whatever happens, and shows what it found."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.prompt import Confirm

from interlock.app import App
from interlock.cli.benching.contender import Contender
from interlock.cli.benching.plan import PICTURES, Plan, elsewhere
from interlock.cli.benching.report import Failure, Machine, Report, Subject, measured, table
from interlock.cli.benching.rounds import Bench
from interlock.cli.exits import Exit
from interlock.cli.output import Output
from interlock.errors import InterlockError, Invalid
from interlock.settings import Settings

__all__ = ["bench", "compare"]

INTERRUPTED: Final = 130

Opened = Callable[[Settings], Any]


async def bench(settings: Settings, plan: Plan, output: Output, *, yes: bool) -> int:
    """Compare backends, print the figures, write the picture. Answers the exit code."""
    allow(settings, plan, output, yes=yes)
    with _progress(output) as progress, _ended_gently():
        report = await compare(settings, plan, step=progress)
    if plan.out is not None:
        write(report, plan)
    if output.json:
        output.data(report)
    else:
        _show(report, plan, output)
    if report.interrupted:
        return INTERRUPTED
    return Exit.UNAVAILABLE if report.failed else Exit.OK


def allow(settings: Settings, plan: Plan, output: Output, *, yes: bool) -> None:
    """Ask before anything is written where it may matter. Raises `Invalid` where nobody agrees."""
    far = {name: elsewhere(settings, name) for name in plan.backends if name != "mock"}
    reasons = [f"{name} is on {host}" for name, host in far.items() if host]
    if far and not settings.seed_demo:
        reasons.insert(0, f"this is {settings.environment}")
    if yes or not reasons:
        return
    what = "the bench writes records into two tenants that it makes, and deletes them afterwards (softly, as always)"
    because = " and ".join(reasons)
    if output.json or not os.isatty(0):
        raise Invalid({"yes": f"is needed, since {because}: {what}"})
    output.note(f"{because}: {what}")
    if not Confirm.ask("go on?", default=False, console=output.errors):
        raise Invalid({"yes": "was not said; nothing was done"})


async def compare(
    settings: Settings,
    plan: Plan,
    *,
    step: Callable[[str, int], None] = lambda text, turns: None,
    open_app: Opened = App.open,
) -> Report:
    """Measure what the plan says, and clean up. A cancellation ends it with what was measured so far.

    `step` is told what comes and how many turns there are; `open_app` builds the application of each backend.
    """
    started = datetime.now(UTC)
    clock = asyncio.get_running_loop().time
    began = clock()
    subjects: dict[str, Subject] = {}
    contenders: list[Contender] = []
    interrupted = False
    found: Bench | None = None
    base: str | None = None
    async with AsyncExitStack() as stack:
        try:
            async for subject, contender in _contenders(settings, plan, stack, open_app, step):
                subjects[subject.name] = subject
                if contender is not None:
                    contenders.append(contender)
                    subjects[subject.name] = await _prepared(subject, contender)
            ready = [one for one in contenders if subjects[one.name].error is None]
            found = Bench(plan, ready)
            base = ready[0].name if ready else None
            turns = found.turns
            await found.run(lambda text: step(text, turns))
        except asyncio.CancelledError:
            interrupted = True
            _undo_cancellation()
        took = clock() - began
        for contender in contenders:
            subjects[contender.name] = await _cleaned(subjects[contender.name], contender)
    return Report(
        started_at=started,
        took_seconds=round(took, 3),
        interrupted=interrupted,
        service=plan.service,
        resource=plan.resource,
        verbs=plan.verbs,
        at_once=plan.concurrency,
        records=plan.records,
        seed=plan.seed,
        machine=Machine.here(),
        compared=tuple(subjects.values()),
        results=measured(plan, found.cells if found else (), base),
        relative_to=base,
        calls_each=plan.calls,
        seconds_each=plan.seconds if plan.calls is None else None,
    )


async def _contenders(
    settings: Settings, plan: Plan, stack: AsyncExitStack, open_app: Opened, step: Callable[[str, int], None]
) -> AsyncIterator[tuple[Subject, Contender | None]]:
    """Each backend, through the services and, where it is wanted, bare; without a contender where it does not open."""
    for backend in plan.backends:
        step(f"preparing {backend}", 0)
        alone = settings.model_copy(update={"api_mode": backend, "backends": {}, "seed_size": 0})
        try:
            app = await open_app(alone)
        except InterlockError as error:
            yield Subject(name=backend, backend=backend, through="services", error=_failure(error)), None
            continue
        stack.push_async_callback(app.aclose)
        layers = next(row.layers for row in await app.status() if row.service == plan.service)
        for bare in (False, True) if plan.bare else (False,):
            contender = Contender(f"{backend} bare" if bare else backend, backend, app, plan, bare=bare)
            yield (
                Subject(
                    name=contender.name,
                    backend=backend,
                    through="backend" if bare else "services",
                    layers=() if bare else tuple(layers),
                    tenants=contender.tenants,
                ),
                contender,
            )


async def _prepared(subject: Subject, contender: Contender) -> Subject:
    try:
        await contender.prepare()
    except InterlockError as error:
        return msgspec.structs.replace(subject, error=_failure(error))
    return subject


async def _cleaned(subject: Subject, contender: Contender) -> Subject:
    try:
        deleted = await contender.clean()
    except InterlockError as error:
        if subject.error is not None:
            return subject
        return msgspec.structs.replace(subject, clean_up_error=_failure(error))
    return msgspec.structs.replace(subject, records_deleted=deleted)


def _failure(error: InterlockError) -> Failure:
    return Failure(error.code, error.message)


def _undo_cancellation() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


@contextmanager
def _ended_gently() -> Iterator[None]:
    """SIGTERM ends the bench as Ctrl-C does: cleaned up, with what it has."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    if task is None or os.name == "nt":
        yield
        return

    def end() -> None:
        loop.remove_signal_handler(signal.SIGTERM)
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def _progress(output: Output) -> Iterator[Callable[[str, int], None]]:
    """A bar with the time that is left, drawn between turns only: drawing costs time that is not the backends'."""
    if output.json or not output.errors.is_terminal:
        yield lambda text, turns: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=output.errors, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def step(text: str, turns: int) -> None:
            known = bar.tasks[0].total is not None
            bar.update(task, description=text, total=turns or None, advance=1 if known else 0)
            bar.refresh()

        yield step


def write(report: Report, plan: Plan) -> None:
    """Write the file that was asked for; it appears whole or not at all."""
    if plan.out is None:
        return
    if plan.out.suffix in PICTURES:
        from interlock.cli.benching.picture import page, picture

        content = page(report) if plan.out.suffix == ".html" else picture(report, plan.out.suffix.removeprefix("."))
    else:
        content = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    part = plan.out.with_name(f".{plan.out.name}.part")
    part.write_bytes(content)
    part.replace(plan.out)


def _show(report: Report, plan: Plan, output: Output) -> None:
    if report.interrupted:
        output.note("interrupted; this is what was measured before")
    for at_once in report.at_once:
        if any(found.at_once == at_once for found in report.results):
            output.console.print(table(report, at_once))
            output.say("")
    for subject in report.compared:
        if subject.error is not None:
            output.say(f"{subject.name}: {subject.error.code}: {subject.error.message}")
        if subject.clean_up_error is not None:
            output.say(
                f"{subject.name}: records are left in the tenants {', '.join(subject.tenants)}: "
                f"{subject.clean_up_error.code}: {subject.clean_up_error.message}"
            )
    if any("rate_limited" in found.errors for found in report.results):
        output.note(
            "a backend limits how often one caller may call; of a gateway that is INTERLOCK_RATE_LIMIT, 0 for no limit"
        )
    deleted = sum(subject.records_deleted for subject in report.compared)
    output.note(f"worked in tenants made for this run, and deleted {deleted:,} records there")
    if plan.out is not None:
        output.say(f"wrote {plan.out}")
