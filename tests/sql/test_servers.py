"""The private PostgreSQL that tests and benches start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from interlock.ports import free_port
from interlock.testing import servers
from interlock.testing.servers import PostgresServer, ServerMissing


def test_databases_are_copies_of_their_template_and_share_nothing(postgres: PostgresServer) -> None:
    first = postgres.new_database().rpartition("/")[2]
    postgres.execute("create table things (id int)", "insert into things values (1)", database=first)
    second = postgres.new_database(template=first).rpartition("/")[2]
    postgres.execute("insert into things values (2)", "select 1 / (count(*) - 1) from things", database=second)
    with pytest.raises(RuntimeError, match="division by zero"):
        postgres.execute("select 1 / (count(*) - 1) from things", database=first)


def test_a_port_that_is_taken_meanwhile_is_given_up(monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(servers, "free_port", lambda: next(ports, None) or free_port())
        with PostgresServer() as own:
            assert own.port != taken.getsockname()[1]
            own.execute("select 1")


def test_closing_leaves_nothing(postgres: PostgresServer) -> None:
    own = PostgresServer()
    folder = own._folder
    assert own.port != postgres.port
    assert folder.exists()
    own.close()
    own.close()
    assert not folder.exists()


def test_missing_programs_are_told_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(servers, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing, match="apt-get install postgresql"):
        PostgresServer()
