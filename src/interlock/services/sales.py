"""Sales: deals, the stages that they move through, and what may come of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from interlock.contract import GroupBy, Measure
from interlock.entities.deal import DEALS, Deal, Stage, StageType
from interlock.errors import Duplicate, Invalid
from interlock.services.base import Context, EntityService
from interlock.services.figures import figures
from interlock.services.rules import RuledService

__all__ = ["DEFAULT_STAGES", "ForecastRow", "PipelineRow", "Sales", "Stages"]

DEFAULT_STAGES: Final[tuple[tuple[str, int, StageType], ...]] = (
    ("New", 10, "open"),
    ("Qualified", 25, "ongoing"),
    ("Proposal", 50, "ongoing"),
    ("Negotiation", 75, "ongoing"),
    ("On hold", 10, "on_hold"),
    ("Won", 100, "won"),
    ("Lost", 0, "lost"),
)
"""Label, probability in per cent, type; in the order of the pipeline."""

_SETTLED: Final[Mapping[str, int]] = MappingProxyType({"won": 100, "lost": 0})


class PipelineRow(msgspec.Struct, frozen=True, rename="camel"):
    """The deals of one stage in one currency. `weighted` is the sum of amount times probability, exact.

    A stage without deals has one row with `currency` None.
    """

    stage_id: str
    label: str
    type: StageType
    position: int
    currency: str | None
    count: int
    amount: Decimal
    weighted: Decimal


class ForecastRow(msgspec.Struct, frozen=True, rename="camel"):
    """What may come in in one month ("2026-11"; None for deals without a date) in one currency, from deals not yet won or lost."""

    month: str | None
    currency: str
    count: int
    amount: Decimal
    weighted: Decimal


class Stages(RuledService[Stage]):
    """The columns of the pipeline. A won stage means 100 per cent, a lost one 0; a stage with deals in it stays."""

    _ruled: ClassVar[frozenset[str]] = frozenset({"type", "probability"})

    async def _check_create(self, rows: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(
            msgspec.structs.replace(row, probability=_settled(row.type, row.probability, untouched=0)) for row in rows
        )

    async def _rule(self, current: Stage, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        given = patch.get("probability", current.probability)
        settled = _settled(patch.get("type", current.type), given, untouched=current.probability)
        return {**patch, "probability": settled}

    async def _check_delete(self, ids: tuple[str, ...]) -> None:
        held = await self.context.services.sales.list(stage_id__in=ids, limit=1)
        if held.items:
            raise Invalid({"id": "there are deals in this stage; move them first"})


def _settled(type: StageType, probability: int, *, untouched: int) -> int:
    """The probability of a stage or deal: won and lost decide it; what nobody set gives way."""
    fixed = _SETTLED.get(type)
    if fixed is None or probability == fixed:
        return probability
    if probability != untouched:
        raise Invalid({"probability": f"is {fixed} where the stage is {type}; leave it out"})
    return fixed


class Sales(RuledService[Deal]):
    """Deals. The probability follows the stage, a lost deal says why, and a won one has a date."""

    parts: ClassVar[Mapping[str, type[EntityService[Any]]]] = MappingProxyType({"stages": Stages})
    _ruled: ClassVar[frozenset[str]] = frozenset({"stage_id", "probability", "lost_reason"})

    def __init__(self, context: Context) -> None:
        super().__init__(DEALS, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def move(
        self, id: str, stage_id: str, *, lost_reason: str | None = None, operation_id: str | None = None
    ) -> Deal:
        """Put the deal into another stage, whose probability it takes over. A lost stage needs `lost_reason`."""
        patch = {"stage_id": stage_id} if lost_reason is None else {"stage_id": stage_id, "lost_reason": lost_reason}
        return await self.update(id, patch, operation_id=operation_id)

    async def pipeline(self) -> tuple[PipelineRow, ...]:
        """Count, amount and weighted amount of every stage, by currency, in the order of the stages."""
        groups = await figures(
            self, ("stage_id", "currency", "probability"), (Measure("count"), Measure("sum", "amount"))
        )
        sums: dict[tuple[str, str | None], tuple[int, Decimal, Decimal]] = {}
        for group in groups:
            stage_id, currency, probability = group.key
            _add(sums, (stage_id, currency), group.values, probability)
        rows = []
        for stage in await self.stages():
            held = sorted(key for key in sums if key[0] == stage.id) or [(stage.id, None)]
            rows += [
                PipelineRow(stage.id, stage.label, stage.type, stage.position, key[1], *sums.get(key, _NOTHING))
                for key in held
            ]
        return tuple(rows)

    async def forecast(self) -> tuple[ForecastRow, ...]:
        """Amounts of the deals that are neither won nor lost, by month of `expected_close` and currency, weighted by probability."""
        settled = [stage.id for stage in await self.stages() if stage.type in _SETTLED]
        groups = await figures(
            self,
            (GroupBy("expected_close", "month"), "currency", "probability"),
            (Measure("count"), Measure("sum", "amount")),
            stage_id__nin=settled,
        )
        sums: dict[tuple[Any, Any], tuple[int, Decimal, Decimal]] = {}
        for group in groups:
            month, currency, probability = group.key
            _add(sums, (month, currency), group.values, probability)
        return tuple(ForecastRow(month, currency, *held) for (month, currency), held in sums.items())

    async def stages(self) -> tuple[Stage, ...]:
        """The stages in the order of the pipeline."""
        return tuple([stage async for stage in self._stages.iterate(sort="position,label")])

    async def create_default_stages(self) -> tuple[Stage, ...]:
        """Make `DEFAULT_STAGES` where the tenant has no stage yet. Answers the stages that there are."""
        if not (await self._stages.list(limit=1)).items:
            for position, (label, probability, type_) in enumerate(DEFAULT_STAGES):
                try:
                    await self._stages.create(label=label, position=position, probability=probability, type=type_)
                except Duplicate:
                    continue  # somebody else makes them at the same time
        return await self.stages()

    @property
    def _stages(self) -> EntityService[Stage]:
        return self.context.services.of("stages")

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _check_create(self, rows: tuple[Deal, ...]) -> tuple[Deal, ...]:
        found = await self._stages.get_many(dict.fromkeys(row.stage_id for row in rows))
        stages = {stage.id: stage for stage in found}
        return tuple(self._new(row, stages.get(row.stage_id)) for row in rows)

    def _new(self, row: Deal, stage: Stage | None) -> Deal:
        if stage is None:
            return row  # the check of references says so
        _check_reason(stage, row.lost_reason)
        probability = _settled(stage.type, row.probability, untouched=0) or stage.probability
        close = row.expected_close or (self.context.now().date() if stage.type == "won" else None)
        return msgspec.structs.replace(row, probability=probability, expected_close=close)

    async def _rule(self, current: Deal, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        stage_id = patch.get("stage_id", current.stage_id)
        (stage,) = await self._stages.get_many((stage_id,)) or (None,)
        if stage is None:
            return patch
        ruled = dict(patch)
        entered = stage_id != current.stage_id
        given = ruled.get("probability", current.probability)
        if entered and given == current.probability:
            given = stage.probability
        ruled["probability"] = _settled(stage.type, given, untouched=current.probability)
        reason = ruled.get("lost_reason", current.lost_reason)
        if stage.type != "lost" and reason == current.lost_reason:
            reason = None
        _check_reason(stage, reason)
        ruled["lost_reason"] = reason
        if entered and stage.type == "won" and ruled.get("expected_close", current.expected_close) is None:
            ruled["expected_close"] = self.context.now().date()
        return ruled


_NOTHING: Final = (0, Decimal(0), Decimal(0))


def _add(sums: dict[Any, tuple[int, Decimal, Decimal]], key: Any, values: Sequence[Any], probability: int) -> None:
    count, amount = values[0], Decimal(values[1] or 0)
    held = sums.get(key, _NOTHING)
    sums[key] = (held[0] + count, held[1] + amount, held[2] + amount * probability / 100)


def _check_reason(stage: Stage, reason: str | None) -> None:
    if stage.type == "lost" and not (reason and reason.strip()):
        raise Invalid({"lost_reason": f"is required in the stage {stage.label!r}; say why the deal was lost"})
    if stage.type != "lost" and reason is not None:
        raise Invalid(
            {"lost_reason": f"is for lost deals, and the stage {stage.label!r} is {stage.type}; leave it out"}
        )
