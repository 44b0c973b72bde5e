"""Texts that break what is put together from strings: each must come back, be found, and find nothing else."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["LITERAL", "SPECIAL", "UNICODE"]

LITERAL: Final = tuple("%_,()\"\\*':.{}&=+#?/ ;|<>[]^$~`!@-")
"""Characters that mean something in LIKE, PostgREST, URLs, JSON, SQL or regular expressions."""

SPECIAL: Final = MappingProxyType(
    {
        "percent": "100% sure",
        "underscore": "a_b",
        "comma": "Smith, John",
        "parentheses": "Acme (UK)",
        "quotes": 'the "best" one',
        "apostrophe": "O'Brien's",
        "backslash": "C:\\temp\\new",
        "star": "a*b*",
        "colon": "key:value::text",
        "dots": "a.b..c.",
        "braces": "{a,b}{}",
        "brackets": "[1..2]",
        "ampersand": "R&D=a&b",
        "plus": "a+b c",
        "hash": "C# #1",
        "question": "why? who?",
        "slash": "a/b//c",
        "percent_escape": "%20%41%",
        "sql": "'; drop table samples; --",
        "logic": "and(id.eq.1,or(a.b))",
        "null": "null",
        "spaces": "two  spaces",
        "newline": "line one\nline two",
        "carriage": "line one\r\nline two",
        "tab": "a\tb",
        "emoji": "party \U0001f389 \U0001f469\u200d\U0001f469\u200d\U0001f467",
        "beyond_bmp": "\U0001d4b3 math",
        "html": "<b>&amp;</b>",
        "template": "${x} {{y}} %(z)s %s",
        "delete": "a\x7fb",
        "next_line": "a\x85b\u2028c",
        "no_break": "a\u00a0b",
    }
)
"""Names of cases (plain ASCII, for test ids) and their texts."""

UNICODE: Final = MappingProxyType(
    {
        "german": ("Größe STRASSE", "GRÖSSE straße"),
        "accents": ("Café Crème", "CAFÉ CRÈME"),
        "greek": ("ΑΘΗΝΑ", "αθηνα"),
        "cyrillic": ("Москва", "МОСКВА"),  # noqa: RUF001 - Cyrillic is meant
        "turkish": ("İstanbul", "i̇stanbul"),
        "polish": ("Łódź", "łÓDŹ"),
        "deseret": ("𐐔𐐯𐑅", "𐐼𐐯𐑅"),
        "cjk": ("東京都", "東京都"),
    }
)
"""Names of cases, a text, and another spelling; whether that folds to the same is what `str.lower` says."""
