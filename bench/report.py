"""docs/performance.md, made from the results."""

from __future__ import annotations

from collections.abc import Mapping

from bench.measure import Result, passes

__all__ = ["performance_page"]

_TITLES = {
    "services_get": "`await crm.customers.get(id)` over calling the backend directly",
    "layers_find": "all layers around a backend that is well, metrics on: what they add to a find that the cache misses",
    "layers_get": "the same for a get",
    "cache_hit_vs_aiocache": "`await crm.customers.get(id)` from the cache, all layers on",
    "cache_hit_vs_cashews": "the same",
    "single_flight": "100 equal reads at once through single-flight",
    "batch_real": "100 gets at once on the rest backend, batched: how many times faster",
    "batch_supabase": "the same on supabase",
    "gateway_list_vs_fastapi": "gateway, list of 50 customers from memory, token checked",
    "gateway_list_vs_bare": "the same, beside the least that a Python server can do",
    "gateway_cached_list": "gateway with its cache on, list of 50 customers, beside a handler of constant bytes",
    "gateway_cached_one": "the same, one customer by its id",
    "rest_client": "rest backend, 50 lists of 50 customers at a time",
    "sql_list": "sql backend on PostgreSQL, list of 50 customers",
    "import_rate": "import of customers from CSV into SQLite",
    "import_million_memory": "import of 1,000,000 rows of CSV: peak memory",
    "supabase_client": "supabase backend, 50 lists of 50 customers at a time, from a server that answers constant bytes",
    "supabase_client_cpu": "the same, CPU of the calling process",
    "supabase_list": "supabase backend on the local stack, lists of 50 customers by 50 callers",
    "supabase_bulk": "100,000 customers in bulk into the local stack",
}

_LAYERS = (
    "## How the layers are measured",
    "",
    "`layers_find` and `layers_get` call a backend that waits for one turn of the event loop, bare and behind all layers, each read for something that "
    "the cache does not have. The layers are put on one after the other, innermost first; a share is what a run took more than the one beside it with "
    "one layer fewer. Much of single-flight's share is the task of its own in which it calls, so that a caller who leaves takes nobody along: two turns of the "
    "event loop, which calls that run at once have in common. A get that is alone in its batch rides in that task. Hedged reads are off unless they are set, "
    "and only a backend that tells of changes is watched: these two are measured on top.",
    "",
    "The benches of hits take the whole way, from the service down, on a built application; the decorators have no service above them. "
    "Those of batching look at every row; `one by one` awaits each get before the next, and the parts also tell what the same gets take all at "
    "once without batching.",
)


def performance_page(results: Mapping[str, Result], machine: str) -> str:
    """The page, in Markdown."""
    lines = [
        "# Performance",
        "",
        "Made by `make bench` from `bench/results.json`; do not edit. Figures are medians of runs that take turns with the peer's, in one "
        "session on one machine; a ratio is of runs that stood next to each other. The command exits 1 when a bar fails. `interlock bench` "
        "measures the backends of your own configuration.",
        "",
        f"Taken on: {machine}.",
        "",
        "| what | figure | bar | lowest to highest | beside |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        verdict = "" if passes(result) else " (**fails**)"
        spread = " to ".join(f"{value:g}" for value in result.spread)
        runs = f"{spread}, {result.runs} runs" if spread else "one run"
        lines.append(
            f"| {_TITLES.get(name, name)} (`{name}`) | {result.value:g} {result.unit} | {_bar(result.bar)}{verdict} | {runs} | {result.peer} |"
        )
    lines += ["", "## What they are made of", ""]
    shown: set[str] = set()
    for name, result in results.items():
        parts = "; ".join(f"{part}: {value:g}" for part, value in result.parts.items())
        if parts and parts not in shown:
            lines.append(f"- `{name}` ({result.unit} where nothing else is said): {parts}")
            shown.add(parts)
        if result.note:
            lines.append(f"- `{name}`: {result.note}")
    lines += ["", *_LAYERS]
    return "\n".join(lines) + "\n"


def _bar(bar: str) -> str:
    return bar.replace(">=", "at least ").replace("<=", "at most ")
