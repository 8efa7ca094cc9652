"""Which sentences there are, and into which languages they are translated.

Two sets of catalogues: `locale/` has what traders can see, in every language of the contract (LOC-3);
`backoffice/locale/` has what only staff reads, in the languages of staff. Django merges them, the traders' first.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import polib
from babel.messages.extract import extract
from django.conf import settings
from django.utils import translation
from django.utils.translation.template import templatize

from accounts.choices import TransferKind

ROOT = Path(settings.BASE_DIR)
APPS = ("accounts", "backoffice", "marketdata", "trading", "tvapi")
# Libraries that come with pages for staff and without catalogues; what Django's lack is translated by us.
LIBRARIES = ("unfold", "unfold.contrib.filters")
TRADERS_SOURCES = (
    "tvapi/*.py",
    "tvapi/views/*.py",
    "tvapi/templates/**/*.html",
    "trading/choices.py",
    "trading/errors.py",
    "trading/previews.py",
    "trading/states.py",
    "marketdata/bars.py",
    "backoffice/operations/statement_pdf.py",
)
TRADERS_CHOICES = (TransferKind,)  # whose file has more that only staff sees
STAFF_ONLY = ("apps.py",)  # titles of the admin's sections
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "gettext_lazy", "gettext_noop")),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (1, 2)),
}

Sentences = Mapping[str, str | None]  # with the plural of those that have one


class Catalogue(NamedTuple):
    """Sentences, the languages they are translated into, and the directory with one catalogue for each."""

    root: Path
    languages: tuple[str, ...]
    sentences: Sentences

    def path(self, language: str) -> Path:
        return self.root / translation.to_locale(language) / "LC_MESSAGES" / "django.po"


def traders() -> Catalogue:
    languages = tuple(code for code, _name in settings.LANGUAGES if code != "en")
    return Catalogue(ROOT / "locale", languages, _for_traders())


def staff() -> Catalogue:
    ours = [path for app in APPS for path in _texts_of(ROOT / app)]
    sentences = {**_of_libraries(), **_collected(ours)}
    for_traders = _for_traders()
    rest = {text: plural for text, plural in sentences.items() if text not in for_traders}
    return Catalogue(ROOT / "backoffice" / "locale", tuple(settings.STAFF_LANGUAGES), rest)


@cache
def _for_traders() -> Sentences:
    paths = [path for pattern in TRADERS_SOURCES for path in sorted(ROOT.glob(pattern)) if path.name not in STAFF_ONLY]
    with translation.override("en"):
        labels = {str(label): None for choices in TRADERS_CHOICES for label in choices.labels}
    return {**_collected(paths), **labels}


def _of_libraries() -> Sentences:
    sentences: dict[str, str | None] = {}
    for name in LIBRARIES:
        found = _collected(_texts_of(_package(name)))
        known = _translated(_locales_of_django())
        sentences |= {text: plural for text, plural in found.items() if text not in known}
    return sentences


def _translated(roots: Iterable[Path]) -> set[str]:
    """What catalogues below these directories have in every language of staff."""
    of_languages = []
    for language in settings.STAFF_LANGUAGES:
        paths = (root / translation.to_locale(language) / "LC_MESSAGES" / "django.po" for root in roots)
        entries = (entry for path in paths if path.exists() for entry in polib.pofile(str(path)).translated_entries())
        of_languages.append({entry.msgid for entry in entries if not entry.msgctxt})
    return set.intersection(*of_languages)


def _locales_of_django() -> list[Path]:
    django = _package("django")
    return [django / "conf" / "locale", *(django / "contrib" / app / "locale" for app in ("admin", "auth"))]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name)
    return Path(spec.origin).parent


def _texts_of(root: Path) -> Iterator[Path]:
    """Its modules and pages. What is below `migrations` speaks to nobody, and `contrib` is other libraries."""
    paths = (path for path in sorted(root.rglob("*")) if path.suffix in (".py", ".html"))
    return (path for path in paths if not {"migrations", "contrib"} & set(path.relative_to(root).parts))


def _collected(paths: Iterable[Path]) -> Sentences:
    found: dict[str, str | None] = {}
    for text, plural in (pair for path in paths for pair in _sentences_in(path)):
        found[text] = found.get(text) or plural
    return found


def _sentences_in(path: Path) -> Iterator[tuple[str, str | None]]:
    source, language = path.read_text(), "python"
    if path.suffix == ".html":
        source, language = templatize(source), "javascript"  # calls of gettext in a sea of X, which that can read
    for _line, found, _comments, _context in extract(language, io.BytesIO(source.encode()), keywords=KEYWORDS):
        text, plural = found if isinstance(found, tuple) else (found, None)
        if text:
            yield str(text), plural
