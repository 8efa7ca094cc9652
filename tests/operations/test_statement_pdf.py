"""A statement on paper: names in any script are drawn, in the order in which they are read."""

import re
from decimal import Decimal
from html import unescape

import pytest
from babel.numbers import format_decimal
from django.conf import settings
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.translation import get_language_info, gettext

from accounts.models import Client
from accounts.roles import Role
from backoffice.operations import pdf_text, statement_pdf, statements
from backoffice.operations.pdf_text import markup
from tests import factories
from tests.backoffice.test_admin import browser

WORDS = ["At (UTC)", "Kind", "Reference", "Amount", "Balance", "Opening balance", "Closing balance"]
EAST_ASIAN = {pdf_text.CHINESE, pdf_text.JAPANESE, pdf_text.KOREAN}


def runs(text: str) -> list[tuple[str, str]]:
    """The fonts of the markup, each with what it draws."""
    found = re.findall(r'<font name="([^"]+)">(.*?)</font>|([^<]+)', pdf_text.markup(text))
    return [(font or pdf_text.USUAL, unescape(inside or bare)) for font, inside, bare in found]


@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_a_trader_of_every_language_can_be_named(language: str) -> None:
    name = get_language_info(language)["name_local"]
    for font, letters in runs(name):
        known = pdf_text.embedded().get(font)
        assert known is None or all(ord(letter) in known.face.charToGlyph for letter in letters), letters
        assert known or font in EAST_ASIAN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Łukasz <Ελλάς> & Їжак", [(pdf_text.USUAL, "Łukasz <Ελλάς> & Їжак")]),
        ("张伟 Ltd", [(pdf_text.CHINESE, "张伟"), (pdf_text.USUAL, " Ltd")]),
        ("田中ひろし", [(pdf_text.JAPANESE, "田中ひろし")]),
        ("金김민수", [(pdf_text.KOREAN, "金김민수")]),
        ("สมชาย", [(pdf_text.THAI, "สมชาย")]),
        ("שרה (אב) 12", [(pdf_text.USUAL, "12 (בא) הרש")]),
        ("باب", [(pdf_text.USUAL, "\ufe8f\ufe8e\ufe91")]),  # the last, the middle and the first letter, as joined
    ],
)
def test_each_run_has_a_font_with_its_letters_in_the_order_they_are_drawn_in(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert runs(text) == expected


@pytest.mark.django_db
@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_a_statement_speaks_the_language_asked_for(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With letters that are there to be drawn, and numbers as that language writes them."""
    drawn: list[str] = []

    def noted(text: str) -> str:
        drawn.append(text)
        return markup(text)

    monkeypatch.setattr(statement_pdf, "markup", noted)
    account = factories.account(number="STM-1", deposits={"USD": Decimal("1234567.5")})
    today = timezone.now().date()
    asked = {"first": str(today), "last": str(today), "language": language, "format": "pdf"}
    address = reverse("page:account_statement", args=[account.pk])
    assert browser(Role.OPERATIONS).get(address, asked).content.startswith(b"%PDF")
    empty = factories.account(deposits={})
    browser(Role.SUPPORT).get(reverse("page:account_statement", args=[empty.pk]), asked)
    with translation.override(language):
        words = [gettext(word) for word in (*WORDS, "Deposit")]
        assert gettext("No money was ever booked in this account.") in drawn
        number = format_decimal(Decimal("1234567.5"), locale=translation.to_locale(language))
    if language != "en":
        assert not {text for text in drawn if text in WORDS} - set(words)
    for word in words:
        if not word.isascii():
            assert word in drawn
        for font, letters in runs(word):
            known = pdf_text.embedded().get(font)
            assert known is None or all(ord(letter) in known.face.charToGlyph for letter in letters), letters
    for font, letters in runs(number):
        assert all(ord(letter) in pdf_text.embedded()[font].face.charToGlyph for letter in letters), repr(letters)


@pytest.mark.django_db
def test_a_statement_carries_the_fonts_of_its_names_and_language() -> None:
    account = factories.account(name="Σπύρος")
    Client.objects.filter(pk=account.client_id).update(name="สมชาย ใจดี")
    account.refresh_from_db()
    today = timezone.now().date()
    with translation.override("zh-hans"):
        pdf = statement_pdf.as_pdf(statements.statement(account, today, today))
    for font in (b"DejaVuSans", b"NotoSansThai", b"STSong-Light"):
        assert font in pdf
    assert b"/HeiseiMin-W3" not in pdf
