"""What one would write with FastAPI and pydantic: the same rows, behind the same token check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Response

from bench.models import CustomerModel
from interlock.errors import Unauthenticated
from interlock.tokens import TokenVerifier

__all__ = ["make"]


def make(path: str, records: Sequence[Any], verifier: TokenVerifier) -> FastAPI:
    """The application: one list, of the tenant that the token names."""
    rows = [CustomerModel.model_validate(record) for record in records]
    app = FastAPI()

    async def tenant_of(authorization: Annotated[str, Header()]) -> str:
        try:
            return verifier.verify(authorization.removeprefix("Bearer ")).tenant_id
        except Unauthenticated as error:
            raise HTTPException(401, error.message) from error

    # FastAPI reads annotations at run time, and cannot see this function's names in a text
    async def listed(response: Response, tenant: str = Depends(tenant_of), limit: int = Query(50)) -> Any:
        found = [row for row in rows if row.tenantId == tenant][:limit]
        response.headers["X-Total-Count"] = str(len(found))
        response.headers["Content-Range"] = f"customers 0-{len(found) - 1}/{len(found)}"
        return found

    app.get(path, response_model=list[CustomerModel])(listed)
    return app
