"""Every refusal and every title, answered by the server in every language: nothing is left in English (LOC-1 … LOC-4).

What was asked for in English tells where a sentence stands in the answer, and which figures it has. In another language
there must stand that language's own sentence with the same figures: names, numbers and symbols stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from babel.dates import format_datetime
from django.test import Client as Browser
from django.utils import timezone, translation
from django.utils.translation import gettext
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.choices import Profile
from accounts.models import User
from accounts.oauth_models import OAuthClient
from backoffice import catalogues
from tests import factories
from tests.trading import desk
from tests.tvapi import refusals
from tests.tvapi.contract import FORM, TradingView
from tests.tvapi.refusals import ENDS, REASONS, SENTENCES, Ask, Prepared, Scene
from tests.tvapi.test_oauth import PASSWORD, address
from tests.tvapi.test_throttle import asked, scope_of
from trading.errors import Reason
from trading.states import OrderStatus
from tvapi import locales

pytestmark = [pytest.mark.proof, pytest.mark.django_db]

PLACEHOLDER = re.compile(r"%\((\w+)\)s")
# What may stand in a sentence of any language: numbers, moments, symbols, currencies, and the wire's own words.
NAME = re.compile(r"[-–\d.,\s:]*( UTC)?|[A-Z0-9.]+|qty|side|requestId|to|durationDateTime|maxCount|x|buy, sell|odd")
OTHERS = {locale: language for locale, language in locales.LANGUAGES.items() if language != locales.ENGLISH}
LANGS = ["ar", "br", "cs", "de", "el", "en", "es", "fa", "fr", "he", "hu", "id", "in", "it", "ja", "kr", "ms", "nl"]
LANGS += ["pl", "ro", "ru", "sv", "th", "tr", "uk", "vi", "zh"]  # LOC-4
# On the login page and in what the throttle says; the rest of the sentences belongs to requests of the API.
OF_PAGE = {
    "This code is not right or was used before. Wait for the next one, and enter it once.",
    "This address does not lead to a login.",
    "This login is for data servers, not for a person.",
    "That took too long. Please log in again.",
    "This page was open for too long, or cookies are switched off.",
    "Please go back to TradingView and begin again.",
    "The request cannot be read.",
}
NO_MONEY = "No money was ever booked in this account."  # on paper: tests/operations/test_statement_pdf.py
TOO_MUCH = "There were too many requests. Please wait a moment."


def sentences() -> set[str]:
    """All whole sentences that traders can meet, in English; those of a venue end with its own words."""
    return {text for text in catalogues.traders().sentences if text.endswith((".", "?", ". %(text)s"))}


def texts(answer: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every text of an answer, with its place."""
    if isinstance(answer, str):
        yield at, answer
    items = answer.items() if isinstance(answer, dict) else enumerate(answer if isinstance(answer, list) else ())
    for key, value in items:
        yield from texts(value, (*at, key))


def pattern(template: str) -> re.Pattern[str]:
    """What a text of this template looks like, its figures as groups by name."""
    parts, seen = [], set()
    for index, part in enumerate(PLACEHOLDER.split(template.replace("%%", "%"))):
        if index % 2 == 0:
            parts.append(re.escape(part))
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>.*?)")
            seen.add(part)
    return re.compile("".join(parts), re.DOTALL)


def same_figure(english: str, said: str) -> bool:
    """Whether it is the same name or number, or the language's own word for it."""
    if NAME.fullmatch(english):
        if english.endswith(" UTC"):  # asked for one after the other: the moment may be a later one
            first = datetime.fromisoformat(english.removesuffix(" UTC"))
            return said in {moment(first + timedelta(seconds=later)) for later in range(300)}
        return english == said or digits(english) == digits(said) != ""
    return english in catalogues.traders().sentences and said == gettext(english)


def moment(at: datetime) -> str:
    return f"{format_datetime(at, locale=translation.to_locale(translation.get_language() or 'en'))} UTC"


def digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def check(template: str, english: str, said: str, language: str) -> None:
    """Whether `said` is the language's own form of the English text."""
    figures = pattern(template).fullmatch(english)
    assert figures, english
    with translation.override(language):
        own = gettext(template)
        assert own != template, language
        found = pattern(own).fullmatch(said)
        assert found, (language, said)
        for name, figure in figures.groupdict().items():
            assert same_figure(figure, found[name]), (language, name, said)


def place_of(template: str, answer: Any) -> tuple[Any, ...]:
    """Where the sentence stands in an answer."""
    places = [at for at, text in texts(answer) if pattern(template).fullmatch(text)]
    assert places, answer
    return places[0]


# --- refusals of the API ----------------------------------------------------------------------------------------------


@pytest.fixture
def scene(trader: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Scene:
    settings.REQUESTS_A_SECOND = 0
    return Scene(trader, settings, monkeypatch)


def test_no_sentence_is_forgotten() -> None:
    coded = {str(reason.label) for reason in Reason}
    assert coded | set(SENTENCES) | OF_PAGE | {TOO_MUCH, NO_MONEY} == sentences()
    assert set(REASONS) | ENDS == set(Reason)


CASES: dict[str, tuple[str, Prepared]] = {
    **{reason.value: (str(reason.label), prepare) for reason, prepare in REASONS.items()},
    **{text: (text, prepare) for text, prepare in SENTENCES.items()},
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_is_said_in_every_language(tv: TradingView, scene: Scene, faults: list[Any], case: str) -> None:
    template, prepare = CASES[case]
    ask: Ask = prepare(scene)
    english = dict(texts(ask.send(tv, "en")))
    place = place_of(template, ask.send(tv, "en"))
    for locale, language in OTHERS.items():
        check(template, english[place], dict(texts(ask.send(tv, locale)))[place], language)
    for locale in ("in", "xx"):
        assert pattern(template).fullmatch(dict(texts(ask.send(tv, locale)))[place])
    faults.clear()


def test_why_orders_ended_is_said_in_every_language(tv: TradingView, scene: Scene) -> None:
    """Every code there is, as the message of an order: what ended it, and what a request was refused for."""
    account = scene.account()
    by_reason = {}
    for reason in Reason:
        placed = desk.place(account, "buy", "1000", limit="1.05")
        figures = dict.fromkeys(PLACEHOLDER.findall(str(reason.label)), "1.5")
        status = OrderStatus.CANCELLED if reason in ENDS else OrderStatus.REJECTED
        refusals.end(placed, status, reason=reason, reason_details=figures)
        by_reason[reason] = str(placed.pk)
    for path in ("orders", "ordersHistory"):

        def messages(locale: str, path: str = path) -> dict[str, str]:
            shown = tv.d(f"/accounts/A/{path}", locale=locale)
            return {each["id"]: each["message"]["text"] for each in shown}

        english = messages("en")
        for locale, language in OTHERS.items():
            said = messages(locale)
            for reason, order in by_reason.items():
                check(str(reason.label), english[order], said[order], language)


@pytest.mark.usefixtures("limited")
def test_who_asks_too_much_is_told_so_in_every_language() -> None:
    for _ in range(5):
        asked(scope_of("/tv/accounts", token="t"))
    for locale, language in OTHERS.items():
        _start, body = asked(scope_of("/tv/accounts", token="t", query=f"locale={locale}"))
        check(TOO_MUCH, TOO_MUCH, msgspec.json.decode(body["body"])["errmsg"], language)


# --- titles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", Profile)
def test_titles_and_words_are_in_every_language(tv: TradingView, scene: Scene, profile: Profile) -> None:
    """Whatever text of an answer is one of our English words is another language's word there."""
    symbol, base = ("BTCUSDT", "USDT") if profile is Profile.SPOT else ("EURUSD", "USD")
    scene.account(profile, symbol, base=base)
    form = {**refusals.LIMIT, "instrument": symbol, "qty": "1000", "stopLoss": "1.0", "takeProfit": "1.07"}
    form |= {"durationType": "gtd", "durationDateTime": str(int(timezone.now().timestamp()) + 3600)}
    words = catalogues.traders().sentences
    asks = [Ask("GET", "/config"), Ask("GET", "/accounts"), Ask("GET", "/accounts/A/state")]
    asks.append(Ask("POST", "/accounts/A/previewOrder", form))
    if profile is Profile.PERPETUAL:
        asks.append(Ask("POST", "/accounts/A/getLeverage", {**refusals.PERPETUAL, "instrument": symbol}))
    for ask in asks:
        english = [(at, text) for at, text in texts(ask.send(tv, "en")) if at[-1] in ("title", "header")]
        for locale, language in OTHERS.items():
            said = dict(texts(ask.send(tv, locale)))
            for at, text in english:
                template = next(word for word in words if pattern(word).fullmatch(text))
                with translation.override(language):
                    assert pattern(gettext(template)).fullmatch(said[at]), (language, text, said[at])


# --- the login page ---------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """The texts of a page, and what its attributes say to people."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name in ("title", "placeholder", "aria-label") and value]

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


def words_of(page: Any) -> list[str]:
    reader = Reader()
    reader.feed(page.content.decode())
    return reader.texts


@pytest.fixture
def client(db: None) -> OAuthClient:
    return factories.oauth_client(secret="a-secret-of-the-tests-only", implicit_flow=True)


def pages(client: OAuthClient, lang: str) -> Iterator[list[str]]:
    """All pages there are between opening the login and being led back."""
    url = address(client, lang=lang)

    def sent(**fields: str) -> Any:
        return Browser().post(url, fields)

    yield words_of(Browser().get(url))
    yield words_of(sent())  # nothing filled in
    yield words_of(sent(login="x" * 200, password="x" * 2000))
    yield words_of(sent(login="x\0", password="x\0"))
    yield words_of(sent(login="trader", password="wrong"))
    yield words_of(sent(login="server", password=PASSWORD))
    second = sent(login="careful", password=PASSWORD)
    yield words_of(second)
    ticket = second.context["form"].initial["ticket"]
    yield words_of(sent(ticket=ticket, code=""))
    yield words_of(sent(ticket=ticket, code="0" * 30))
    yield words_of(sent(ticket=ticket, code="\0"))
    yield words_of(sent(ticket=ticket, code="000000"))
    yield words_of(sent(ticket="forged", code="000000"))
    yield words_of(Browser().get(address(client, lang=lang, redirect_uri="https://evil.example/")))
    yield words_of(Browser().get(url + "&state=twice"))
    yield words_of(Browser(enforce_csrf_checks=True).post(url, {"login": "trader"}))
    yield words_of(Browser().post(url, b"x=" + b"1" * 3_000_000, content_type=FORM))
    yield words_of(sent(**{f"a{number}": "" for number in range(1001)}))
    yield words_of(Browser().post(url, b"--", content_type="multipart/form-data"))


def test_the_login_page_is_in_every_language(client: OAuthClient, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 1000
    for name in ("trader", "careful"):
        factories.user(name, password=PASSWORD)
    factories.user("server", password=PASSWORD, is_data_client=True)
    TOTPDevice.objects.create(user=User.objects.get(username="careful"), name="app", confirmed=True)
    english = list(pages(client, "en"))
    met = {text for page in english for text in page}
    assert met >= OF_PAGE
    for lang in LANGS:
        language = locales.language_of_page(lang)
        assert language
        for ours, theirs in zip(english, pages(client, lang), strict=True):
            assert len(ours) == len(theirs)
            for text, said in zip(ours, theirs, strict=True):
                if language == locales.ENGLISH:
                    assert said == text
                    continue
                with translation.override(language):
                    assert said == gettext(text.removesuffix(":")) + ":" * text.endswith(":") or said != text
                    assert said != text or not text.endswith("."), (lang, said)
