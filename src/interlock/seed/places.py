"""Cities with where they are, what money they use, and how their people are called."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["PLACES", "Place"]


class Place(msgspec.Struct, frozen=True):
    """A city: `lat` and `lon` in degrees, `locale` as Faker names it."""

    city: str
    country: str
    lat: float
    lon: float
    locale: str
    currency: str


PLACES: Final[tuple[Place, ...]] = (
    Place("Berlin", "Germany", 52.52, 13.405, "de_DE", "EUR"),
    Place("Hamburg", "Germany", 53.5511, 9.9937, "de_DE", "EUR"),
    Place("München", "Germany", 48.1374, 11.5755, "de_DE", "EUR"),
    Place("Köln", "Germany", 50.9375, 6.9603, "de_DE", "EUR"),
    Place("Wien", "Austria", 48.2082, 16.3738, "de_AT", "EUR"),
    Place("Zürich", "Switzerland", 47.3769, 8.5417, "de_CH", "CHF"),
    Place("Paris", "France", 48.8566, 2.3522, "fr_FR", "EUR"),
    Place("Lyon", "France", 45.764, 4.8357, "fr_FR", "EUR"),
    Place("Nîmes", "France", 43.8367, 4.3601, "fr_FR", "EUR"),
    Place("Madrid", "Spain", 40.4168, -3.7038, "es_ES", "EUR"),
    Place("A Coruña", "Spain", 43.3623, -8.4115, "es_ES", "EUR"),
    Place("Milano", "Italy", 45.4642, 9.19, "it_IT", "EUR"),
    Place("Torino", "Italy", 45.0703, 7.6869, "it_IT", "EUR"),
    Place("Utrecht", "Netherlands", 52.0907, 5.1214, "nl_NL", "EUR"),
    Place("Göteborg", "Sweden", 57.7089, 11.9746, "sv_SE", "SEK"),
    Place("Kraków", "Poland", 50.0647, 19.945, "pl_PL", "PLN"),
    Place("London", "United Kingdom", 51.5074, -0.1278, "en_GB", "GBP"),
    Place("Leeds", "United Kingdom", 53.8008, -1.5491, "en_GB", "GBP"),
    Place("Boston", "United States", 42.3601, -71.0589, "en_US", "USD"),
    Place("Chicago", "United States", 41.8781, -87.6298, "en_US", "USD"),
    Place("Portland", "United States", 45.5152, -122.6784, "en_US", "USD"),
)
