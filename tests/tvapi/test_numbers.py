"""Cells are written as Babel writes them, which knows every language and is too slow for polls."""

from decimal import Decimal

import pytest
from babel import Locale
from babel.numbers import format_decimal, format_percent
from django.conf import settings
from django.utils import translation
from django.utils.translation import to_locale

from accounts.models import Currency
from tvapi import account_manager
from tvapi.account_manager import Figures

NUMBERS = ["0", "0.004", "0.005", "0.015", "-0.001", "1", "-1", "999.995", "1000", "-1234.5", "1234567.891", "1E+9"]


@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES])
def test_numbers_have_the_signs_of_the_language(language: str) -> None:
    locale, signs = Locale.parse(to_locale(language)), account_manager._signs(language)
    with translation.override(language):
        for number in map(Decimal, NUMBERS):
            for decimals, pattern in [(0, "#,##0"), (2, "#,##0.00"), (8, "#,##0.00000000")]:
                written = account_manager._decimal(number, decimals, signs)
                assert written == format_decimal(number, pattern, locale=locale)
            figures = Figures(Currency(), balance=number, level=number)
            expected = format_percent(number / 100, format="#,##0.00%", locale=locale)
            assert account_manager._margin_level(figures, signs) == expected
