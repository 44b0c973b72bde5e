"""The moments and zones: when a clock is read that is easily read wrong."""

from __future__ import annotations

import calendar
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["MOMENTS", "ZONES", "Moment"]

ZONES: Final = ("UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati")
_ELSEWHERE: Final = "Europe/Berlin"
"""Whose clock changes a zone without any is tried at."""
_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Moment:
    """`of` gives the next one after a time, for a zone. Where it is `crossed`, tests run before it and after it; else after it only."""

    name: str
    of: Callable[[datetime, str], datetime]
    crossed: bool


def _yearly(month: int, day: int, hour: int, minute: int, second: int) -> Callable[[datetime, str], datetime]:
    """That time (UTC) of the next year that has the day."""

    def of(now: datetime, zone: str) -> datetime:
        for year in count(now.year):
            if day <= calendar.monthrange(year, month)[1]:
                found = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
                if found > now:
                    return found
        raise AssertionError("unreachable")

    return of


def _change(*, forward: bool) -> Callable[[datetime, str], datetime]:
    """When the zone's clocks are next put forward, or back."""

    def of(now: datetime, zone: str) -> datetime:
        hour = now.replace(minute=0, second=0, microsecond=0)
        for where in (ZoneInfo(zone), ZoneInfo(_ELSEWHERE)):
            for place in range(24 * 366):
                before, after = hour + place * _HOUR, hour + (place + 1) * _HOUR
                change = _offset(after, where) - _offset(before, where)
                if change and (change > timedelta(0)) == forward:
                    return _within(before, after, where)
        raise AssertionError("unreachable")

    return of


def _within(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The minute of the hour at which the change is: where a zone is half an hour off, so are its changes."""
    old = _offset(before, zone)
    return next(at for n in range(1, 61) if _offset(at := before + timedelta(minutes=n), zone) != old or at == after)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


MOMENTS: Final = (
    Moment("the year's end", _yearly(1, 1, 0, 0, 0), crossed=True),
    Moment("the first of January", _yearly(1, 1, 0, 0, 30), crossed=False),
    Moment("the 29th of February", _yearly(2, 29, 12, 0, 0), crossed=False),
    Moment("the 31st of March", _yearly(3, 31, 23, 30, 0), crossed=False),
    Moment("clocks are put forward", _change(forward=True), crossed=True),
    Moment("clocks are put back", _change(forward=False), crossed=True),
)
