"""Runs the blocks of a page as a reader would, and compares what they print with what the page shows.

In a `console` block a line that begins with `$ ` is a command (continued by lines that begin with `> `), and the lines after it are what it prints;
`...` stands for anything. `make run`, `interlock up` and `interlock serve` mean the product that the test has started. A `python` block is a program of its own.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
STARTS = ("make run", "interlock up", "interlock serve")


class Step(NamedTuple):
    page: str
    line: int
    kind: str
    command: str
    printed: str
    needs: str = ""


def steps(page: Path) -> Iterator[Step]:
    """The commands and programs of a page, in order."""
    needs = ""
    lines = page.read_text("utf-8").splitlines()
    at = 0
    while at < len(lines):
        if found := re.fullmatch(r"<!-- needs: (.+) -->", lines[at]):
            needs = found.group(1)
        fence = re.fullmatch(r"```(\w+)", lines[at])
        if fence is None:
            at += 1
            continue
        end = lines.index("```", at)
        block = lines[at + 1 : end]
        if fence.group(1) == "python":
            yield Step(page.name, at + 1, "python", "\n".join(block), "", needs)
        elif fence.group(1) == "console":
            yield from _commands(page.name, at + 2, block, needs)
        needs = ""
        at = end + 1


def _commands(page: str, first: int, block: list[str], needs: str) -> Iterator[Step]:
    command: list[str] = []
    printed: list[str] = []
    begun = first
    for number, line in enumerate([*block, "$ "], first):
        if line.startswith("$ "):
            if command:
                yield Step(page, begun, "console", "\n".join(command), "\n".join(printed), needs)
            command, printed, begun = [line[2:]], [], number
        elif line.startswith("> ") and not printed:
            command.append(line[2:])
        else:
            printed.append(line)


def run(step: Step, folder: Path, env: Mapping[str, str], ports: Mapping[str, str]) -> None:
    """Run one step; raises AssertionError where it fails or prints something else."""
    if step.kind == "console" and step.command.endswith(STARTS):
        return
    arguments = (
        [sys.executable, "-c", step.command] if step.kind == "python" else ["bash", "-c", moved(step.command, ports)]
    )
    done = subprocess.run(
        arguments, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    output = done.stdout + done.stderr
    where = f"{step.page}:{step.line}: {step.command}"
    if step.kind == "python":
        assert done.returncode == 0, f"{where}\n{output}"
        return
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wanted = moved(step.printed, ports)
    assert doctest.OutputChecker().check_output(f"{wanted}\n", f"{output.rstrip()}\n", flags), (
        f"{where}\n--- the page shows\n{wanted}\n--- it printed (exit code {done.returncode})\n{output}"
    )


def moved(text: str, ports: Mapping[str, str]) -> str:
    """The text with the product's ports in place of the usual ones."""
    for usual, port in ports.items():
        text = re.sub(rf"(?<=:){usual}\b", port, text)
    return text
