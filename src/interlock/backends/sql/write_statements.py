"""The statements of writes, compiled once."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, ColumnElement, LargeBinary, and_, bindparam, func, select, union_all, update
from sqlalchemy.dialects.postgresql import insert as upsert

from interlock.backends.sql.dialects import Dialect
from interlock.backends.sql.statements import Statement, compiled
from interlock.backends.sql.tables import TYPES, EntityTable, Schema

__all__ = ["SharedStatements", "WriteStatements"]


class WriteStatements:
    """The statements of writes to one table."""

    def __init__(self, of: EntityTable, dialect: Dialect) -> None:
        table, c = of.table, of.table.c
        tenant = c.tenant_id == bindparam("tenant")
        named = dialect.in_list(c.id, "ids", TYPES["id"])
        extra = ("_forwarded",) if "_forwarded" in c else ()
        self.written = (*of.written, "_seq", *extra)
        locked = select(c["_seq"], *of.selected).where(tenant, named).order_by(c.id)
        self.lock = compiled(locked.with_for_update() if dialect.locks_rows else locked, dialect)
        self.insert = compiled(
            table.insert().values({name: bindparam(f"v_{name}", type_=c[name].type) for name in self.written}), dialect
        )
        self.update = self._update(of, dialect, of.written)
        self.put = self._update(of, dialect, (*of.written, "_seq"))
        taken: list[ColumnElement[bool]] = [named]
        uniques = [of.unique_column(u.field) for u in of.entity.unique]
        for unique, column in zip(of.entity.unique, uniques, strict=True):
            taken.append(and_(c.deleted_at.is_(None), dialect.in_list(column, f"u_{unique.field}", column.type)))
        # One arm for each index: SQLite answers the same with OR by reading all rows of the tenant, 1.7 s at a million.
        arms = [select(c.id, c.deleted_at.is_(None), *uniques).where(tenant, each) for each in taken]
        self.taken = compiled(union_all(*arms), dialect)

    def _update(self, of: EntityTable, dialect: Dialect, names: Sequence[str]) -> Statement:
        c = of.table.c
        changed = {
            name: bindparam(f"v_{name}", type_=c[name].type) for name in names if name not in ("id", "tenant_id")
        }
        keys = (c.tenant_id == bindparam("v_tenant_id"), c.id == bindparam("v_id"))
        return compiled(update(of.table).where(*keys).values(changed), dialect)


class SharedStatements:
    """Those to the tables that all entities share: operations and sequences."""

    def __init__(self, schema: Schema, dialect: Dialect) -> None:
        o, s = schema.operations, schema.sequences
        this = (o.c.tenant_id == bindparam("tenant"), o.c.operation_id == bindparam("operation"))
        packed = bindparam("packed", type_=LargeBinary())
        self.begin_operation = compiled(upsert(o).on_conflict_do_nothing().returning(o.c.operation_id), dialect)
        self.known_operation = compiled(select(o.c.fingerprint, o.c.outcomes).where(*this), dialect)
        self.end_operation = compiled(update(o).where(*this).values(outcomes=packed), dialect)
        new, key = upsert(s), [s.c.tenant_id, s.c.resource]
        stored, given = s.c.value, new.excluded.value
        # SQLite's max() of two values is PostgreSQL's greatest().
        greatest = func.greatest if dialect.locks_rows else func.max
        higher: ColumnElement[int] = greatest(stored, given, type_=BigInteger())
        self.reserve = compiled(
            new.on_conflict_do_update(index_elements=key, set_={"value": stored + given}).returning(stored), dialect
        )
        self.raise_to = compiled(new.on_conflict_do_update(index_elements=key, set_={"value": higher}), dialect)
