"""The language of an answer: TradingView names its sites' languages, not ISO's (LOC-1)."""

import re

from django.http import HttpRequest

ENGLISH = "en"
LANGUAGES = {
    "ar_AE": "ar",
    "br": "pt-br",
    "cs": "cs",
    "de_DE": "de",
    "el": "el",
    "en": ENGLISH,
    "es": "es",
    "fa_IR": "fa",
    "fr": "fr",
    "he_IL": "he",
    "hu_HU": "hu",
    "id": "id",
    "in": ENGLISH,  # the site of India
    "it": "it",
    "ja": "ja",
    "kr": "ko",
    "ms_MY": "ms",
    "nl_NL": "nl",
    "pl": "pl",
    "ro": "ro",
    "ru": "ru",
    "sv_SE": "sv",
    "th_TH": "th",
    "tr": "tr",
    "uk": "uk",
    "vi_VN": "vi",
    "zh_CN": "zh-hans",
    "zh_TW": "zh-hant",
}

# The login page's `lang` is another list (LOC-4).
PAGE_LANGUAGES = {
    **LANGUAGES,
    **{code.partition("_")[0]: language for code, language in LANGUAGES.items() if code not in ("zh_CN", "zh_TW")},
    "zh": "zh-hans",
}

_IN_QUERY = re.compile(r"(?:^|&)locale=([A-Za-z_]+)(?:&|$)")


def language(locale: str) -> str:
    """Our language for a `locale`; English for one we do not know (LOC-2)."""
    return LANGUAGES.get(locale, ENGLISH)


def language_of_page(lang: str | None) -> str | None:
    """Our language for a `lang`: English for one we do not know, None where none was sent."""
    return PAGE_LANGUAGES.get(lang, ENGLISH) if lang else None


def language_of(request: HttpRequest) -> str:
    return language_in(request.META.get("QUERY_STRING", ""))


def language_in(query: str) -> str:
    """The language that a query names. It is found in a broken query too, so that the refusal can be read."""
    named = _IN_QUERY.search(query)
    return language(named[1]) if named else ENGLISH
