"""The committed files: what the generator makes, and migrations that come to the same as the schemas."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.supabase.schema.catalog import catalog
from tests.supabase.schema.conftest import PROJECT, Project, migrations, schemas
from typer.testing import CliRunner

from interlock.backends.supabase.schema import HEADER, files, statements
from interlock.cli import build
from interlock.entities import CUSTOMERS, ENTITIES
from interlock.entity import Entity
from interlock.services.policy import able
from interlock.testing.samples import SAMPLES, TEST_ENTITIES, Sample

pytestmark = pytest.mark.anyio


def test_the_committed_files_are_the_generators() -> None:
    there = {path.name: path.read_text("utf-8") for path in schemas()}
    generated = {name: text for name, text in there.items() if text.startswith(HEADER)}
    assert generated == files(ENTITIES, roles=able, among=there)


def test_check_passes_on_the_committed_files_and_fails_on_others(tmp_path: Path) -> None:
    run = CliRunner()
    assert run.invoke(build(), ["supabase", "generate", "--check", "--project", str(PROJECT)]).exit_code == 0
    assert run.invoke(build(), ["supabase", "generate", "--check", "--project", str(tmp_path)]).exit_code == 1
    assert run.invoke(build(), ["supabase", "generate", "--project", str(tmp_path)]).exit_code == 0
    assert run.invoke(build(), ["supabase", "generate", "--check", "--project", str(tmp_path)]).exit_code == 0
    path = tmp_path / "schemas" / "10_customers.sql"
    path.write_text(path.read_text() + "-- by hand\n")
    done = run.invoke(build(), ["--json", "supabase", "generate", "--check", "--project", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stdout.strip() == '{"missing":[],"different":["10_customers.sql"]}'


def test_entities_of_ones_own_get_files_and_a_migration(tmp_path: Path) -> None:
    arguments = ["supabase", "generate", "--entities", "interlock.testing.samples:TEST_ENTITIES"]
    done = CliRunner().invoke(build(), [*arguments, "--project", str(tmp_path), "--migration", "samples"])
    assert done.exit_code == 0
    assert [path.name for path in sorted((tmp_path / "schemas").iterdir())] == ["10_samples.sql", "11_ledger_lines.sql"]
    (migration,) = (tmp_path / "migrations").iterdir()
    assert re.fullmatch(r"\d{14}_samples\.sql", migration.name)
    assert migration.read_text() == statements(TEST_ENTITIES, roles=able)


@pytest.mark.parametrize("named", ["nowhere:X", "interlock.entities:NOPE", "interlock.entities:__all__", "interlock"])
def test_what_is_no_entity_is_refused(named: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["supabase", "generate", "--entities", named, "--project", str(tmp_path)])
    assert done.exit_code == 2
    assert "entities" in done.output


def test_new_files_keep_clear_of_those_that_are_there() -> None:
    named = files((CUSTOMERS, SAMPLES), roles=able, among=("15_customers.sql", "00_app.sql", "80_replication.sql"))
    assert list(named) == ["15_customers.sql", "16_samples.sql"]


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    long = Entity(Sample, resource="r" * 60)
    with pytest.raises(TypeError, match="longer than the 63 bytes"):
        statements((long,), roles=able)


def test_credentials_have_no_table() -> None:
    assert "credentials" not in statements(ENTITIES, roles=able)


def test_migrations_sort_as_they_were_written() -> None:
    names = [path.name for path in migrations()]
    assert all(re.fullmatch(r"\d{14}_[a-z_]+\.sql", name) for name in names)
    assert len({name[:14] for name in names}) == len(names)


async def test_the_migrations_come_to_the_schemas(project: Project) -> None:
    declared, migrated = project.fresh(), project.migrated()
    project.apply(declared, schemas())
    wanted = await catalog(project.connect(declared))
    found = await catalog(project.connect(migrated))
    assert found == wanted
    assert all(wanted.values())


async def test_nothing_knows_the_local_stack() -> None:
    """It deploys unchanged to a hosted project: no superuser's statement, no local address."""
    superuser = re.compile(
        r"\b(create|alter) event trigger|\bcreate (unlogged )?(language|server|foreign)|\balter system|\bsuperuser\b|"
        r"\bset session authorization|\bcopy\b.*\b(program|from '/)|pg_read_file|127\.0\.0\.1|localhost|supabase_admin",
        re.IGNORECASE,
    )
    found = [
        f"{path.name}: {match.group()}"
        for path in (*schemas(), *migrations())
        if (match := superuser.search(path.read_text()))
    ]
    assert not found
