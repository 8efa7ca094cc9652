"""Names in any script on paper: which font draws a letter, and right-to-left texts in the order they are drawn in.

DejaVu Sans has Latin, Greek, Cyrillic, Hebrew and Arabic, Noto Sans Thai has Thai: what a page uses of them is put into
the file. Chinese, Japanese and Korean are left to the fonts that readers of PDF have for them: these are large.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import arabic_reshaper
from bidi.algorithm import get_display
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont

FONTS = Path(__file__).with_name("fonts")
USUAL = "DejaVuSans"
THAI = "NotoSansThai"
CHINESE, JAPANESE, KOREAN = "STSong-Light", "HeiseiMin-W3", "HYSMyeongJo-Medium"
RIGHT_TO_LEFT = frozenset(("R", "AL"))
RESHAPER = arabic_reshaper.ArabicReshaper({"ARABIC LIGATURE ALLAH": False})  # DejaVu has no sign for the whole word


@cache
def embedded() -> dict[str, TTFont]:
    """The fonts that are put into the file, in the order in which they are tried; registers all with reportlab."""
    files = {USUAL: "DejaVuSans.ttf", THAI: "NotoSansThai-Regular.ttf"}
    fonts = {name: TTFont(name, FONTS / file) for name, file in files.items()}
    for font in (*fonts.values(), *map(UnicodeCIDFont, (CHINESE, JAPANESE, KOREAN))):
        registerFont(font)
    return fonts


def markup(text: str) -> str:
    """The text for a paragraph of reportlab's, escaped, each run in a font that has its letters."""
    east_asian = _east_asian_font(text)
    parts = []
    for font, letters in groupby(_as_drawn(text), key=lambda letter: _font_of(letter, east_asian)):
        run = escape("".join(letters))
        parts.append(run if font == USUAL else f'<font name="{font}">{run}</font>')
    return "".join(parts)


def _as_drawn(text: str) -> str:
    """From left to right; Arabic letters in the shapes that they have beside each other."""
    if any(unicodedata.bidirectional(letter) in RIGHT_TO_LEFT for letter in text):
        return str(get_display(RESHAPER.reshape(text)))
    return text


def _font_of(letter: str, east_asian: str) -> str:
    """The first that has the letter. What nobody has is drawn as an empty box, in the usual font."""
    for name, font in embedded().items():
        if ord(letter) in font.face.charToGlyph:
            return name
    return east_asian if unicodedata.east_asian_width(letter) in "WF" and letter <= "\uffff" else USUAL


def _east_asian_font(text: str) -> str:
    """The scripts that only one country writes tell how the signs that they share are drawn."""
    names = {unicodedata.name(letter, "").partition(" ")[0] for letter in text}
    if "HANGUL" in names:
        return KOREAN
    return JAPANESE if names & {"HIRAGANA", "KATAKANA"} else CHINESE
