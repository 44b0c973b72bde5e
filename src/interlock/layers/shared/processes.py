"""Which process is which: a description that tells a process from any that later has its number, and whether one of this machine is gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["describe_process", "is_gone"]


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int | str) -> str:
    """When the process started, in ticks since the boot; "" where there is none."""
    # The name of the program stands in brackets and may hold anything.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return "" if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def describe_process() -> str:
    """Number, start, name space and boot of this process, and the host's name, apart by blanks."""
    boot = _read("/proc/sys/kernel/random/boot_id") or "-"
    return f"{os.getpid()} {_started('self') or '-'} {_namespace() or '-'} {boot} {socket.gethostname()}"


def is_gone(member: str) -> bool:
    """True where a member is a process of this very machine and name space, and has ended. False where that can't be known."""
    parts = member.split(" ")
    if len(parts) != 6:
        return False
    _, pid, start, namespace, boot, _ = parts
    here = describe_process().split(" ")
    if "-" in (start, namespace, boot) or (namespace, boot) != (here[2], here[3]):
        return False
    return _started(pid) != start
