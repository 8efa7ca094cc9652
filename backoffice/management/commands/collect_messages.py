from collections.abc import Mapping
from typing import Any

import polib
from django.core.management.base import BaseCommand

from backoffice import catalogues
from backoffice.catalogues import Catalogue, Sentences


class Command(BaseCommand):
    requires_system_checks = ()
    help = "Collect the sentences to translate into the catalogues. Translations stay; what nobody says is dropped."

    def handle(self, *args: Any, **options: Any) -> None:
        for catalogue in (catalogues.traders(), catalogues.staff()):
            for language in catalogue.languages:
                missing = _update(catalogue, language)
                if missing and options["verbosity"]:
                    self.stdout.write(f"{catalogue.path(language)}: {missing} to translate")


def _update(catalogue: Catalogue, language: str) -> int:
    """Bring the language's catalogue up to date. Says how many sentences have no translation."""
    file = polib.pofile(str(catalogue.path(language)), wrapwidth=0)
    known = {entry.msgid: entry for entry in file if not entry.obsolete}
    file[:] = [_kept(entry, known) for entry in _entries(catalogue.sentences)]
    file.save()
    return len(file.untranslated_entries())


def _kept(entry: polib.POEntry, known: Mapping[str, polib.POEntry]) -> polib.POEntry:
    """The entry with the translation that it had."""
    old = known.get(entry.msgid)
    return old if old and bool(old.msgid_plural) == bool(entry.msgid_plural) else entry


def _entries(sentences: Sentences) -> list[polib.POEntry]:
    """Without translations, in an order that hardly changes."""
    return [_entry(text, plural) for text, plural in sorted(sentences.items())]


def _entry(text: str, plural: str | None) -> polib.POEntry:
    flags = ["python-format"] if "%(" in text else []
    if plural is None:
        return polib.POEntry(msgid=text, flags=flags)
    return polib.POEntry(msgid=text, msgid_plural=plural, msgstr_plural={0: "", 1: ""}, flags=flags)
