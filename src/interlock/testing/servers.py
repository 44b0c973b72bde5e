"""Real servers for tests and benches: private, on free ports of the loopback, gone when they are closed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from interlock.devstack.clock import clock_environment
from interlock.ports import free_port

__all__ = ["PostgresServer", "RedisServer", "ServerMissing"]

_START_SECONDS: Final = 60.0
_PORTS: Final = 5
_DEBIAN: Final = Path("/usr/lib/postgresql")
_SPEED: Final = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "shared_buffers=64MB",
    "max_connections=200",
)


class ServerMissing(RuntimeError):
    """The server's programs are not on this machine. The message says what to install."""


def postgres_programs() -> Path:
    """The folder of initdb and postgres, the newest version first. Raises `ServerMissing`."""
    found = [p.parent for p in _DEBIAN.glob("*/bin/initdb")]
    found.sort(key=lambda folder: float(folder.parent.name), reverse=True)
    if (on_path := shutil.which("initdb")) is not None:
        found.append(Path(on_path).resolve().parent)
    for folder in found:
        if (folder / "postgres").exists():
            return folder
    raise ServerMissing("PostgreSQL's programs are not here; install them: apt-get install postgresql")


def _unprivileged() -> str | None:
    """Whom to be instead of root, under which PostgreSQL refuses to run; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            pwd.getpwnam(name)
            return name
    raise ServerMissing("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")


class PostgresServer:
    """A PostgreSQL of its own in a temporary folder, with nothing made durable, for tests.

    ::

        with PostgresServer() as server:
            url = server.new_database()          # postgresql+asyncpg://…, empty
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self._locate(Path(tempfile.mkdtemp(prefix="interlock-postgres-")), free_port())
        self._settings = (*_SPEED, *settings)
        try:
            if self._user is not None:
                shutil.chown(self._folder, self._user)
            self._run(
                "initdb",
                "-D",
                str(self._data),
                "-U",
                "interlock",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            )
            self._start_on_a_free_port()
        except BaseException:
            self.close()
            raise

    @classmethod
    def attach(cls, address: str) -> PostgresServer:
        """The running server of another process, by its `address`: to make databases in; that process stops it."""
        folder, _, port = address.rpartition(":")
        attached = cls.__new__(cls)
        attached._locate(Path(folder), int(port))
        return attached

    def _locate(self, folder: Path, port: int) -> None:
        self._programs = postgres_programs()
        self._user = _unprivileged()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port

    @property
    def address(self) -> str:
        """What another process of this machine gives to `attach`."""
        return f"{self._folder}:{self.port}"

    def _start_on_a_free_port(self) -> None:
        for _ in range(_PORTS - 1):
            try:
                return self.start()
            except RuntimeError as error:
                if "could not create any TCP/IP sockets" not in str(error):
                    raise
                self.port = free_port()  # somebody took it between our look and the start
        return self.start()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _as_user(self, command: Sequence[str]) -> dict[str, Any]:
        path = os.environ.get("PATH", "/usr/bin:/bin")
        environment = {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": str(self._folder), **clock_environment()}
        given: dict[str, Any] = {"args": list(command), "env": environment, "cwd": str(self._folder)}
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            given |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return given

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            **self._as_user([str(self._programs / program), *arguments]), capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")

    def start(self) -> None:
        """Start it (again), on the same port with the same data, and wait until it answers."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        command = [
            str(self._programs / "postgres"),
            "-D",
            str(self._data),
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            str(self._folder),
        ]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(**self._as_user([*command, *options]), stdout=output, stderr=output)
        ends = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(**self._as_user(command)).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it at once (SIGINT: connections are broken, data kept; SIGKILL: like a power cut)."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each by itself."""
        where = (
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "interlock",
            "-d",
            database,
        )
        self._run("psql", *where, *(part for statement in statements for part in ("-c", statement)))

    def url(self, database: str) -> str:
        """The URL of a database."""
        return f"postgresql+asyncpg://interlock@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of `template` (a database's name; nobody may be connected to it)."""
        name = f"db_{uuid.uuid4().hex}"
        self.execute(f'create database "{name}"' + (f' template "{template}" strategy file_copy' if template else ""))
        return self.url(name)

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def redis_program() -> str:
    """The path of redis-server or valkey-server. Raises `ServerMissing`."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) is not None:
            return found
    raise ServerMissing("neither redis-server nor valkey-server is here; install one: apt-get install redis-server")


class RedisServer:
    """A Redis (or Valkey) of its own on a socket in a temporary folder, which keeps nothing when it stops, for tests.

    ::

        with RedisServer() as server:
            settings = Settings(redis_url=server.url)
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        self._program = redis_program()
        self._settings = tuple(settings)
        self._folder = Path(tempfile.mkdtemp(prefix="interlock-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = self._folder / "socket"
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start it (again), empty, and wait until it answers."""
        options = ("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no")
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the program was looked up by its name
                [self._program, *options, "--dir", str(self._folder), *self._settings], stdout=output, stderr=output
            )
        ends = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.01)

    def _ready(self) -> bool:
        try:
            return self.command("PING") == "+PONG"
        except OSError:
            return False

    def command(self, *parts: str) -> str:
        """Send one command. The first line of the answer, with the sign of its kind."""
        sent = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in parts)
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(self.socket))
            line.sendall(f"*{len(parts)}\r\n{sent}".encode())
            with line.makefile("rb") as answer:
                return answer.readline().decode().strip()

    def send(self, which: signal.Signals) -> None:
        """Send it a signal: SIGSTOP hangs it, SIGCONT lets it go on."""
        if self._process is not None:
            self._process.send_signal(which)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Stop it, and wait until it is gone. What it held is lost."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
