"""The catalogues: whatever a trader can see is there in every language, with its placeholders (LOC-3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import polib
import pytest
from babel.messages.extract import extract_from_file
from django.conf import settings
from django.utils import translation

from trading.errors import Reason

ROOT = Path(settings.BASE_DIR)
LANGUAGES = [code for code, _name in settings.LANGUAGES if code != "en"]
# Where the sentences come from that the API speaks; what only staff reads is elsewhere.
SOURCES = [
    *sorted(ROOT.glob("tvapi/*.py")),
    *sorted(ROOT.glob("tvapi/views/*.py")),
    *(ROOT / "trading" / name for name in ("choices.py", "errors.py", "previews.py", "states.py")),
    ROOT / "marketdata" / "bars.py",
]
TEMPLATES = sorted(ROOT.glob("tvapi/templates/**/*.html"))
KEYWORDS = {"_": None, "gettext": None, "gettext_lazy": None}
PLACEHOLDER = re.compile(r"%\(\w+\)s")
IN_TEMPLATE = re.compile(r"""{%\s*trans(?:late)?\s+["']([^"']+)["']""")


def sentences() -> Iterator[str]:
    for path in SOURCES:
        if path.name == "apps.py":
            continue  # titles of the admin's sections
        for found in extract_from_file("python", path, keywords=KEYWORDS):
            yield str(found[1])
    for path in TEMPLATES:
        yield from IN_TEMPLATE.findall(path.read_text())


@cache
def catalogue(code: str) -> dict[str, polib.POEntry]:
    path = ROOT / "locale" / translation.to_locale(code) / "LC_MESSAGES" / "django.po"
    return {entry.msgid: entry for entry in polib.pofile(str(path)) if not entry.obsolete}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_sentence_for_traders_is_translated(code: str) -> None:
    entries = catalogue(code)
    missing = sorted({text for text in sentences() if not entries.get(text, polib.POEntry()).translated()})
    assert missing == []


@pytest.mark.parametrize("code", LANGUAGES)
def test_translations_keep_their_placeholders(code: str) -> None:
    for text, entry in catalogue(code).items():
        if entry.translated() and not entry.msgid_plural:
            assert sorted(PLACEHOLDER.findall(entry.msgstr)) == sorted(PLACEHOLDER.findall(text)), text
            assert entry.msgstr.count("%%") == text.count("%%"), text
        assert not entry.fuzzy, text


@pytest.mark.parametrize("code", LANGUAGES)
def test_no_refusal_is_left_in_english(code: str) -> None:
    with translation.override("en"):
        english = {reason: str(reason.label) for reason in Reason}
    with translation.override(code):
        assert [reason for reason in Reason if str(reason.label) == english[reason]] == []
