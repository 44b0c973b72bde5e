"""Bodies that PostgREST 12 and 13 answer, as they were recorded, and the error of ours that each becomes."""

from __future__ import annotations

import pytest

from interlock.backends.supabase.faults import Concern, error_of
from interlock.errors import (
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from interlock.http import Reply

SECRET = "somebody-elses@example.test"

ALIKE: list[tuple[str, int, str, type[InterlockError]]] = [
    # name, status, body, what a read and a write become
    (
        "no table (12)",
        404,
        '{"code":"42P01","details":null,"hint":null,"message":"relation \\"public.nope\\" does not exist"}',
        Misconfigured,
    ),
    (
        "no table (13)",
        404,
        '{"code":"PGRST205","details":null,"hint":null,"message":"Could not find the table \'public.nope\' in the schema cache"}',
        Misconfigured,
    ),
    (
        "no function",
        404,
        '{"code":"PGRST202","details":"Searched for the function public.nope without parameters","hint":null,"message":"Could not find the function public.nope without parameters in the schema cache"}',
        Misconfigured,
    ),
    (
        "no column of a write",
        400,
        '{"code":"PGRST204","details":null,"hint":null,"message":"Could not find the \'nope\' column of \'samples\' in the schema cache"}',
        Misconfigured,
    ),
    (
        "no column of a filter",
        400,
        '{"code":"42703","details":null,"hint":null,"message":"column samples.nope does not exist"}',
        Misconfigured,
    ),
    (
        "no resource to put",
        404,
        '{"code":"PT404","details":null,"hint":null,"message":"unknown_resource"}',
        Misconfigured,
    ),
    (
        "token expired (12)",
        401,
        '{"code":"PGRST301","details":null,"hint":null,"message":"JWT expired"}',
        Unauthenticated,
    ),
    (
        "token expired (13)",
        401,
        '{"code":"PGRST303","details":null,"hint":null,"message":"JWT expired"}',
        Unauthenticated,
    ),
    (
        "token of another key (13)",
        401,
        '{"code":"PGRST301","details":"None of the keys was able to decode the JWT","hint":null,"message":"No suitable key or wrong key type"}',
        Unauthenticated,
    ),
    (
        "no token",
        401,
        '{"code":"PGRST302","details":null,"hint":null,"message":"Anonymous access is disabled"}',
        Unauthenticated,
    ),
    (
        "revoked",
        401,
        '{"code":"PT401","details":"the user was deactivated or deleted","hint":null,"message":"user_revoked"}',
        Unauthenticated,
    ),
    (
        "policy",
        403,
        '{"code":"42501","details":null,"hint":null,"message":"new row violates row-level security policy for table \\"samples\\""}',
        Forbidden,
    ),
    (
        "grant of anon",
        401,
        '{"code":"42501","details":null,"hint":null,"message":"permission denied for table samples"}',
        Forbidden,
    ),
    (
        "reused operation",
        422,
        '{"code":"PT422","details":"the operation id was used for another request","hint":null,"message":"operation_reused"}',
        Invalid,
    ),
    (
        "check",
        400,
        f'{{"code":"23514","details":"Failing row contains ({SECRET}).","hint":null,"message":"new row for relation \\"samples\\" violates check constraint"}}',
        Invalid,
    ),
    (
        "text",
        400,
        f'{{"code":"22P02","details":null,"hint":null,"message":"invalid input syntax for type bigint: \\"{SECRET}\\""}}',
        Invalid,
    ),
    (
        "parameter",
        400,
        '{"code":"PGRST100","details":"unexpected \\"x\\"","hint":null,"message":"failed to parse filter"}',
        Invalid,
    ),
    ("body", 400, '{"code":"PGRST102","details":null,"hint":null,"message":"Empty or invalid json"}', Invalid),
    (
        "deadlock",
        500,
        '{"code":"40P01","details":"Process 1 waits for ...","hint":null,"message":"deadlock detected"}',
        Unavailable,
    ),
    (
        "serialization",
        500,
        '{"code":"40001","details":null,"hint":null,"message":"could not serialize access"}',
        Unavailable,
    ),
    (
        "time",
        500,
        '{"code":"57014","details":null,"hint":null,"message":"canceling statement due to statement timeout"}',
        Unavailable,
    ),
    (
        "connections",
        503,
        '{"code":"53300","details":null,"hint":null,"message":"sorry, too many clients already"}',
        Unavailable,
    ),
    ("disk", 503, '{"code":"53100","details":null,"hint":null,"message":"could not extend file"}', Unavailable),
    (
        "read only",
        405,
        '{"code":"25006","details":null,"hint":null,"message":"cannot execute INSERT in a read-only transaction"}',
        Unavailable,
    ),
    (
        "no database",
        503,
        '{"code":"PGRST000","details":"connection to server at \\"127.0.0.1\\" failed: Connection refused","hint":null,"message":"Database connection error. Retrying the connection."}',
        Unavailable,
    ),
    (
        "no schema cache",
        503,
        '{"code":"PGRST002","details":null,"hint":null,"message":"Could not query the database for the schema cache. Retrying."}',
        Unavailable,
    ),
    (
        "pool",
        504,
        '{"code":"PGRST003","details":null,"hint":null,"message":"Timed out acquiring connection from connection pool."}',
        Unavailable,
    ),
    (
        "starting",
        503,
        '{"code":"57P03","details":null,"hint":null,"message":"the database system is starting up"}',
        Unavailable,
    ),
    ("internal", 500, '{"code":"XX000","details":null,"hint":null,"message":"cache lookup failed"}', Unavailable),
    ("too many", 429, '{"message":"API rate limit exceeded"}', RateLimited),
]

BROKEN = [
    (
        "connection (12)",
        503,
        '{"code":"PGRST001","details":"server closed the connection unexpectedly","hint":null,"message":"Database client error. Retrying the connection."}',
    ),
    (
        "shut down",
        503,
        '{"code":"57P01","details":null,"hint":null,"message":"terminating connection due to administrator command"}',
    ),
    ("connection failure", 503, '{"code":"08006","details":null,"hint":null,"message":"connection failure"}'),
    ("front", 502, "<html>Bad Gateway</html>"),
    ("front in time", 504, "upstream request timeout"),
    ("front's own", 500, ""),
]


def error(status: int, body: str, operation_id: str | None) -> InterlockError:
    return error_of(Reply(status, body.encode(), lambda _: None), Concern("samples", operation_id))


@pytest.mark.parametrize("operation_id", [None, "the operation"], ids=["read", "write"])
@pytest.mark.parametrize(("status", "body", "wanted"), [case[1:] for case in ALIKE], ids=[case[0] for case in ALIKE])
def test_an_error_of_the_database_is_one_of_ours(
    status: int, body: str, wanted: type[InterlockError], operation_id: str | None
) -> None:
    found = error(status, body, operation_id)
    assert type(found) is wanted
    assert SECRET not in str(found)


@pytest.mark.parametrize(("status", "body"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_write_on_a_connection_that_broke_is_of_unknown_outcome(status: int, body: str) -> None:
    assert type(error(status, body, None)) is Unavailable
    found = error(status, body, "the operation")
    assert isinstance(found, OutcomeUnknown)
    assert found.operation_id == "the operation"


@pytest.mark.parametrize(("key", "field"), [("samples_email_key", "email"), ("samples_pkey", "id")])
def test_a_unique_key_names_its_field_and_nobodys_value(key: str, field: str) -> None:
    details = f'"Key (tenant_id, lower(email))=(t, {SECRET}) already exists."'
    body = (
        f'{{"code":"23505","details":{details},"message":"duplicate key value violates unique constraint \\"{key}\\""}}'
    )
    found = error(409, body, "o")
    assert isinstance(found, Duplicate)
    assert (found.field, found.existing_id) == (field, None)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    "body", ["", "[]", "null", '{"code":null}', '{"code":7,"details":[{"a":1}]}', "[" * 100_000, "\udcff"]
)
def test_odd_bodies_are_judged_by_their_status(body: str) -> None:
    reply = Reply(400, body.encode(errors="surrogateescape"), lambda _: None)
    assert isinstance(error_of(reply, Concern("samples")), Invalid)
