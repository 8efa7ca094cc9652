"""The catalogues: what a trader can see is there in every language, what staff reads in those of the admin (LOC-3)."""

from __future__ import annotations

import re
from functools import cache

import polib
import pytest
from django.conf import settings
from django.utils import translation

from backoffice import catalogues
from backoffice.catalogues import Catalogue
from trading.errors import Reason

LANGUAGES = [code for code, _name in settings.LANGUAGES if code != "en"]
CATALOGUES = [("traders", code) for code in LANGUAGES] + [("staff", code) for code in settings.STAFF_LANGUAGES]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%\(\w+\)\.\df|{\w*}|%%|<[^>]+>")


@cache
def sentences(name: str) -> Catalogue:
    return {"traders": catalogues.traders, "staff": catalogues.staff}[name]()


@cache
def entries(name: str, code: str) -> dict[str, polib.POEntry]:
    return {entry.msgid: entry for entry in polib.pofile(str(sentences(name).path(code))) if not entry.obsolete}


def forms(entry: polib.POEntry) -> list[str]:
    """What the entry says: once, or for each number that the language distinguishes."""
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


@pytest.mark.parametrize(("name", "code"), CATALOGUES)
def test_every_sentence_is_translated(name: str, code: str) -> None:
    found = entries(name, code)
    missing = [text for text in sentences(name).sentences if text not in found or not all(forms(found[text]))]
    assert missing == []
    assert set(found) == set(sentences(name).sentences), "`make messages` drops what nobody says any more"


@pytest.mark.parametrize(("name", "code"), CATALOGUES)
def test_translations_keep_their_placeholders(name: str, code: str) -> None:
    for text, entry in entries(name, code).items():
        assert not entry.fuzzy, text
        expected = [sorted(PLACEHOLDER.findall(english)) for english in (text, entry.msgid_plural or text)]
        for form in forms(entry):
            assert sorted(PLACEHOLDER.findall(form)) in expected, form


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_refusal_is_left_in_english(code: str) -> None:
    with translation.override("en"):
        english = {reason: str(reason.label) for reason in Reason}
    with translation.override(code):
        assert [reason for reason in Reason if str(reason.label) == english[reason]] == []
