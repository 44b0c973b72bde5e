"""The tables of the documentation that follow from the code. Run it to write them: `python tests/docs/tables.py`."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import typer.main

from interlock import errors
from interlock.cli import build
from interlock.cli.exits import Exit
from interlock.errors import InterlockError
from interlock.services import EntityService, Services
from interlock.settings import GUIDE, SERVICES, Settings

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
EXAMPLE: Final = ROOT / ".env.example"


def _rows(head: list[str], rows: list[list[str]]) -> str:
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def _default(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, float) and value.is_integer():
        return f"`{int(value)}`"
    return f"`{value}`"


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        if name in ("backends", "limits"):
            continue
        extra = field.json_schema_extra
        mend = extra["mend"] if isinstance(extra, dict) else ""
        rows.append([f"`INTERLOCK_{name.upper()}`", _default(field.default), str(field.description), str(mend)])
    rows.append(
        [
            "`INTERLOCK_<SERVICE>_BACKEND`",
            "",
            "The backend of one service; `auto` follows the mode.",
            "choose mock, real, sql, supabase or auto",
        ]
    )
    rows.append(["`INTERLOCK_<BACKEND>_<LIMIT>`", "", "A limit of one backend.", "as for the limit of that name"])
    return _rows(["variable", "default", "what it does", "values"], rows)


def example() -> str:
    """The file of all settings, each with its default, to copy to `.env`."""
    lines = ["# Every setting with its default. Copy this file to .env, and uncomment what you want otherwise."]
    for name, field in Settings.model_fields.items():
        if name not in ("backends", "limits"):
            extra = field.json_schema_extra
            mend = extra["mend"] if isinstance(extra, dict) else ""
            lines += ["", f"# {field.description}", f"# ({mend})"]
            lines.append(f"# INTERLOCK_{name.upper()}={_default(field.default).strip('`')}")
    lines += ["", "# The backend of one service: mock, real, sql, supabase, or auto, which follows the mode."]
    lines += [f"# INTERLOCK_{service.upper()}_BACKEND=auto" for service in SERVICES]
    return "\n".join([*lines, ""])


def guide() -> str:
    rows = [[f"`{name}`", f"`INTERLOCK_{meaning.field.upper()}`", _unit(name)] for name, meaning in GUIDE.items()]
    rows.append(["`VITE_<SERVICE>_BACKEND`", "`INTERLOCK_<SERVICE>_BACKEND`", ""])
    return _rows(["the guide's name", "ours", ""], rows)


def _unit(name: str) -> str:
    if name == "VITE_USE_MOCK_API":
        return "`true` is `mock`, `false` is `real`; `VITE_API_MODE` is stronger"
    meaning = GUIDE[name]
    return "milliseconds there, seconds here" if meaning.mend and "milliseconds" in meaning.mend else ""


def exits() -> str:
    source = (Path(__file__).resolve().parents[2] / "src/interlock/cli/exits.py").read_text("utf-8")
    docs = dict(re.findall(r"^    (\w+) = \d+\n    \"\"\"(.+)\"\"\"", source, re.MULTILINE))
    return _rows(["code", "means"], [[str(code.value), docs.get(code.name, "Done.")] for code in Exit])


def error_tree() -> str:
    kinds = [getattr(errors, name) for name in errors.__all__]
    rows = [
        [f"[`{kind.__name__}`](#{kind.__name__.lower()})", f"`{kind.code}`", str(kind.status)]
        for kind in kinds
        if kind is not InterlockError
    ]
    return _rows(["error", "code", "HTTP status"], sorted(rows, key=lambda row: row[2]))


def commands() -> str:
    group: Any = typer.main.get_command(build())
    return "\n".join(_commands("interlock", group)).strip()


def _commands(above: str, group: Any) -> Iterator[str]:
    """The commands of a group, and those of the groups within it."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        lines = [f"## {above} {name}", "", str(command.help).strip(), ""]
        rows = []
        for parameter in command.params:
            if getattr(parameter, "hidden", False):
                continue
            argument = parameter.param_type_name == "argument"
            shown = (parameter.metavar or parameter.name.upper()) if argument else ", ".join(parameter.opts)
            rows.append([f"`{shown}`", str(getattr(parameter, "help", "") or "")])
        if rows:
            lines += [_rows(["argument", ""], rows), ""]
        yield "\n".join(lines)
        if hasattr(command, "commands"):
            yield from _commands(f"{above} {name}", command)


def _signature(method: Any) -> str:
    parameters = [each for each in inspect.signature(method).parameters.values() if each.name != "self"]
    shown = []
    for each in parameters:
        star = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        optional = "" if each.default is each.empty else "="
        if each.name not in ("operation_id", "expected_version"):
            shown.append(f"{star}{each.name}{optional}")
    return ", ".join(shown)


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _operations(kind: type[Any], without: type[Any] | None = None) -> str:
    rows = [
        [f"`{name}({_signature(member)})`", _first(member.__doc__)]
        for name, member in vars(kind).items()
        if inspect.isfunction(member) and not name.startswith("_") and not (without and hasattr(without, name))
    ]
    return _rows(["operation", "what it does"], rows)


def shared() -> str:
    return _operations(EntityService)


def services() -> str:
    parts = []
    for name, member in vars(Services).items():
        if not isinstance(member, cached_property):
            continue
        kind = typing.get_type_hints(member.func)["return"]
        parts += [f"## {name}", "", _first(kind.__doc__), "", _operations(kind, EntityService), ""]
    return "\n".join(parts).strip()


TABLES: Final = MappingProxyType(
    {
        ("configuration.md", "settings"): settings,
        ("configuration.md", "guide"): guide,
        ("cli.md", "exits"): exits,
        ("cli.md", "commands"): commands,
        ("errors.md", "errors"): error_tree,
        ("services.md", "shared"): shared,
        ("services.md", "services"): services,
    }
)


def replaced(text: str, name: str, table: Callable[[], str]) -> str:
    """The page with the table in its place. Raises ValueError where the page has no place for it."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{begin} ... {end} is missing")
    return f"{before}{begin}\n{table()}\n{end}{after}"


def main() -> None:
    for (page, name), table in TABLES.items():
        path = DOCS / page
        path.write_text(replaced(path.read_text("utf-8"), name, table), "utf-8")
    EXAMPLE.write_text(example(), "utf-8")


if __name__ == "__main__":
    main()
