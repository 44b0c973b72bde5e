"""Which column of a file is which field: guessed from the headers, and overridable.

A header is compared without case, accents, spaces and punctuation: first with the fields' own names, then with the profile's synonyms.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.identifiers import is_id
from interlock.services.transfer.cells import EMPTY, from_cell
from interlock.validation import suggest

__all__ = ["CUSTOMER_PROFILE", "Columns", "Profile", "normalise", "profile_of"]


PLACE: Final = "address+city+country"
"""The target of a column with a whole place in it."""


class Profile(msgspec.Struct, frozen=True):
    """What an import knows of an entity beyond its fields.

    - `synonyms`: normalised header to the fields that it may mean, the likeliest first. `location.lat` and `location.lon` are the halves of a
      point, and `address+city+country` is a text such as "Dublin, Ireland" that fills all three.
    - `key`: the fields that tell two rows apart where there is neither an id nor a unique value. Without them, the whole row does.
    """

    synonyms: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    key: tuple[str, ...] = ()


def normalise(header: str) -> str:
    """The letters and digits of a header, without case and accents."""
    decomposed = unicodedata.normalize("NFKD", header).casefold()
    return "".join(c for c in decomposed if c.isalnum())


def _synonyms(table: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for field, headers in table.items():
        for header in headers.split(","):
            name = normalise(header)
            found[name] = (*found.get(name, ()), field)
    return MappingProxyType(found)


CUSTOMER_PROFILE: Final = Profile(
    synonyms=_synonyms(
        {
            "company_name": "company,name,organization,organisation,account,account name,business,business name,firm,customer,"
            "customer name,client,client name,legal name,security,firma,firmenname,unternehmen,société,entreprise,empresa",
            "contact_name": "contact,contact person,contact full name,full name,person,representative,primary contact,name,"
            "ansprechpartner,contacto",
            "email": "mail,email address,e-mail,e-mail address,contact email,primary email,work email,correo,courriel",
            "phone": "telephone,tel,phone number,telephone number,work phone,mobile,cell,contact phone,telefon,téléphone,teléfono",
            "address": "street,street address,address line 1,address 1,billing address,ship address,strasse,straße,adresse,dirección",
            "city": "town,locality,ship city,billing city,stadt,ort,ville,ciudad",
            "country": "nation,country name,ship country,billing country,land,pays,país",
            "industry": "sector,gics sector,branch,vertical,branche,line of business,industria",
            "size": "company size,employees band,grösse,taille",
            "status": "state of customer,customer status,lifecycle stage,stage",
            "notes": "note,comment,comments,remarks,description,bemerkung,notizen",
            "assigned_to": "owner id,account owner id,assignee id",
            "tags": "tag,labels,label,keywords,categories",
            "location.lat": "lat,latitude,geo lat",
            "location.lon": "lon,lng,long,longitude,geo lon",
            PLACE: "headquarters location,headquarters,headquarter,hq,head office,hq location,place",
        }
    ),
    key=("company_name", "city", "country"),
)

_PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({"customers": CUSTOMER_PROFILE})
_PLACE_FIELDS = tuple(PLACE.split("+"))
_FOOTNOTE = re.compile(r"\s*\[[^\]]*\]")
_US_STATES = frozenset(
    [
        "Alabama",
        "Alaska",
        "Arizona",
        "Arkansas",
        "California",
        "Colorado",
        "Connecticut",
        "Delaware",
        "Florida",
        "Georgia",
        "Hawaii",
        "Idaho",
        "Illinois",
        "Indiana",
        "Iowa",
        "Kansas",
        "Kentucky",
        "Louisiana",
        "Maine",
        "Maryland",
        "Massachusetts",
        "Michigan",
        "Minnesota",
        "Mississippi",
        "Missouri",
        "Montana",
        "Nebraska",
        "Nevada",
        "New Hampshire",
        "New Jersey",
        "New Mexico",
        "New York",
        "North Carolina",
        "North Dakota",
        "Ohio",
        "Oklahoma",
        "Oregon",
        "Pennsylvania",
        "Rhode Island",
        "South Carolina",
        "South Dakota",
        "Tennessee",
        "Texas",
        "Utah",
        "Vermont",
        "Virginia",
        "Washington",
        "West Virginia",
        "Wisconsin",
        "Wyoming",
        "D.C.",
    ]
)


def profile_of(entity: Entity[Any]) -> Profile:
    """The profile of an entity that comes with Interlock; an empty one for others."""
    return _PROFILES.get(entity.resource, Profile())


def split_place(text: str) -> dict[str, str]:
    """Address, city and country of a text such as "Saint Paul, Minnesota" or "Warmley, Bristol, United Kingdom".

    The address keeps the whole text, so that nothing of it is lost. A state of the USA is not taken for a country.
    """
    clean = _FOOTNOTE.sub("", text).strip()
    parts = [part.strip() for part in clean.split(",") if part.strip()]
    if not parts:
        return {}
    found = {"address": clean, "city": parts[0]}
    if len(parts) > 1:
        found["country"] = "United States" if parts[-1] in _US_STATES else parts[-1]
    return found


class Columns:
    """The mapping of one file, growing as columns appear (the records of a JSON file need not have the same ones).

    `targets` holds column to field, `ignored` column to the reason.
    """

    def __init__(
        self,
        entity: Entity[Any],
        profile: Profile,
        overrides: Mapping[str, str | None],
        *,
        sheet: bool,
        max_columns: int,
    ) -> None:
        self.entity = entity
        self.profile = profile
        self.overrides = dict(overrides)
        self.targets: dict[str, str] = {}
        self.ignored: dict[str, str] = {}
        self._sheet = sheet
        self._max_columns = max_columns
        self._known: frozenset[str] = frozenset()
        self._readers: list[tuple[str, str, Callable[[Any], Any]]] = []
        self._by_name = {normalise(name): name for name in entity.fields}
        self._by_name |= {normalise(field.wire): field.name for field in entity.fields.values()}
        self._halves = {f"{entity.location}.lat", f"{entity.location}.lon"} if entity.location else set()
        self._check_overrides()

    def _check_overrides(self) -> None:
        possible = {*self.entity.writable, *self._halves, *self._extra()}
        problems: dict[str, str] = {}
        for column, target in self.overrides.items():
            if target is not None and target not in possible:
                problems[column] = f"cannot go to {target!r}: not a writable field{suggest(target, possible)}"
        taken = [target for target in self.overrides.values() if target]
        problems |= {
            c: f"{t} is given twice; choose one column" for c, t in self.overrides.items() if taken.count(t or "") > 1
        }
        if problems:
            raise Invalid({f"mapping.{column}": text for column, text in problems.items()})

    def _extra(self) -> tuple[str, ...]:
        return (PLACE,) if all(name in self.entity.writable for name in _PLACE_FIELDS) else ()

    def expect(self, columns: Iterable[str]) -> None:
        """Raises `Invalid` where the caller mapped a column that the file does not have."""
        known = tuple(columns)
        unknown = {
            f"mapping.{column}": f"the file has no such column{suggest(column, known)}; it has {', '.join(known[:20])}"
            for column in self.overrides
            if column not in known
        }
        if unknown:
            raise Invalid(unknown)

    def note_absent(self) -> None:
        """At the end of a JSON file: columns that the caller mapped and that no record had."""
        for column in self.overrides.keys() - self._known:
            self.ignored[column] = "no record has it"

    def add(self, columns: Iterable[str]) -> None:
        """Find the fields of columns not seen before."""
        fresh = [column for column in columns if column not in self._known]
        self._known |= frozenset(fresh)
        if len(self._known) > self._max_columns:
            raise Invalid({"columns": f"the file has more than {self._max_columns}; remove those that are not needed"})
        guesses: list[tuple[int, str, tuple[str, ...]]] = []
        for column in fresh:
            if column in self.overrides:
                target = self.overrides[column]
                guesses.append((0, column, (target,) if target else ()))
                continue
            name = normalise(column)
            exact = self._by_name.get(name)
            if exact is not None:
                guesses.append((1, column, (exact,)))
            else:
                meant = self.profile.synonyms.get(name, ())
                guesses.append((1 + len(meant) if meant else 9, column, meant))
        for rank, column, meant in sorted(guesses, key=lambda guess: guess[0]):
            self._settle(column, meant, chosen=rank == 0)
        self._compile()

    def _settle(self, column: str, meant: tuple[str, ...], *, chosen: bool) -> None:
        if not meant:
            self.ignored[column] = "left out by the mapping" if chosen else "no field has this name"
            return
        taken = set(self.targets.values()) | ({t for t in self.overrides.values() if t} if not chosen else set())
        for target in meant:
            field = self.entity.fields.get(target)
            if field is not None and field.server_owned:
                self.ignored[column] = "is set by the service"
            elif target not in taken:
                self.ignored.pop(column, None)
                self.targets[column] = target
                return
            else:
                self.ignored[column] = f"{target} is read from another column"

    def drop(self, column: str, reason: str) -> None:
        """Read the column no more."""
        del self.targets[column]
        self.ignored[column] = reason
        self._compile()

    def _compile(self) -> None:
        self._readers = []
        for column, target in self.targets.items():
            field = self.entity.fields.get(target)
            reader = from_cell(field, sheet=self._sheet) if field else _plain
            self._readers.append((column, target, reader))
        # the whole of a place gives way to columns of its own for address, city and country
        self._readers.sort(key=lambda reader: reader[1] != PLACE)

    def check_ids(self, cells: Mapping[str, Any]) -> None:
        """Leave a guessed `id` column alone where its first value is no id of ours: another system's number, most likely."""
        for column, target in self.targets.items():
            if target == "id" and column not in self.overrides and not is_id(str(cells.get(column) or "")):
                self.drop(column, "its values are not ids of this service")
                return

    def read(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The values of one row by field, not yet checked. Empty cells are absent."""
        if not cells.keys() <= self._known:
            self.add(cells)
        values: dict[str, Any] = {}
        halves: dict[str, Any] = {}
        for column, target, reader in self._readers:
            value = reader(cells.get(column))
            if value is EMPTY:
                continue
            if target == PLACE:
                values.update(split_place(str(value)))
            elif "." in target:
                halves[target.rpartition(".")[2]] = value
            else:
                values[target] = value
        if halves and self.entity.location:
            field = self.entity.fields[self.entity.location]
            values[field.name] = from_cell(field, sheet=False)(halves)
        return values


def _plain(raw: Any) -> Any:
    return EMPTY if raw is None or raw == "" else raw
