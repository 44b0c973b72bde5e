"""Field types that several entities share."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from msgspec import Meta

__all__ = ["Amount", "Currency", "Email", "Long", "Name", "Probability", "Short"]

Amount = Annotated[Decimal, Meta(extra={"least": 0}, description="money, not negative")]
"""msgspec bounds no Decimal: `interlock.validation` holds the least value."""

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Short = Annotated[str, Meta(max_length=200)]
Long = Annotated[str, Meta(max_length=20_000)]
Email = Annotated[str, Meta(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="an ISO 4217 code")]
Probability = Annotated[int, Meta(ge=0, le=100, description="per cent")]
