"""What a database's catalog says of everything that Interlock's SQL makes, in words that two databases can be compared by."""

from __future__ import annotations

from typing import Final

from tests.supabase.schema.database import Database

__all__ = ["catalog"]

_OURS: Final = (
    "n.nspname in ('public', 'app') and not exists (select from pg_depend e where e.objid = {oid} and e.deptype = 'e')"
)

_QUERIES: Final = {
    "columns": f"""
        select concat_ws('.', n.nspname, c.relname, a.attname), concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
          a.attidentity, a.attgenerated, l.collname, pg_get_expr(d.adbin, d.adrelid), a.attacl)
        from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
        left join pg_attrdef d on (d.adrelid, d.adnum) = (a.attrelid, a.attnum) left join pg_collation l on l.oid = a.attcollation
        where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'v', 'c', 'S') and {_OURS.format(oid="c.oid")}""",
    "relations": f"""
        select concat_ws('.', n.nspname, c.relname),
          concat_ws(' ', c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relacl, c.reloptions, pg_get_userbyid(c.relowner))
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'v', 'c', 'S', 'm') and {_OURS.format(oid="c.oid")}""",
    "constraints": f"""
        select concat_ws('.', n.nspname, c.conrelid::regclass, c.conname), pg_get_constraintdef(c.oid)
        from pg_constraint c join pg_namespace n on n.oid = c.connamespace where {_OURS.format(oid="c.oid")}""",
    "indexes": "select schemaname || '.' || indexname, indexdef from pg_indexes where schemaname in ('public', 'app')",
    "policies": """
        select concat_ws('.', schemaname, tablename, policyname), concat_ws(' ', permissive, roles, cmd, qual, with_check)
        from pg_policies""",
    "functions": f"""
        select p.oid::regprocedure::text, concat_ws(' ', pg_get_functiondef(p.oid), p.proacl, pg_get_userbyid(p.proowner))
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where p.prokind in ('f', 'p') and {_OURS.format(oid="p.oid")}""",
    "triggers": """
        select concat_ws('.', t.tgrelid::regclass, t.tgname), concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
        from pg_trigger t where not t.tgisinternal""",
    "schemas": "select n.nspname, concat_ws(' ', n.nspacl) from pg_namespace n where n.nspname in ('public', 'app')",
    "publications": "select concat_ws('.', p.pubname, p.schemaname, p.tablename), '' from pg_publication_tables p",
    "extensions": "select e.extname, n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace",
    "settings": """
        select concat_ws('', r.rolname), s.setconfig::text from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
        where s.setdatabase = 0""",
    "permissions": "select p.resource || '.' || p.action, p.roles::text from app.permissions p",
    "buckets": "select b.id, concat_ws(' ', b.name, b.public) from storage.buckets b",
}


async def catalog(database: Database) -> dict[str, dict[str, str]]:
    """Names and definitions, by kind."""
    return {kind: {row[0]: row[1] for row in await database.rows(query)} for kind, query in _QUERIES.items()}
