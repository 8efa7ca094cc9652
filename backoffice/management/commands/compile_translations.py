import os
from pathlib import Path
from typing import Any

import polib
from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Compile the catalogues of all languages (.po to .mo) that have changed. Needs no gettext tools."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        sources = [path for root in settings.LOCALE_PATHS for path in sorted(Path(root).glob("*/LC_MESSAGES/*.po"))]
        stale = [path for path in sources if _is_stale(path)]
        for source in stale:
            _compile(source)
        if options["verbosity"]:
            self.stdout.write(f"{len(stale)} of {len(sources)} catalogues compiled.")


def _is_stale(source: Path) -> bool:
    target = source.with_suffix(".mo")
    return not target.exists() or target.stat().st_mtime < source.stat().st_mtime


def _compile(source: Path) -> None:
    """Write beside the target first: a running process never reads half a catalogue."""
    draft = source.with_suffix(f".{os.getpid()}.tmp")
    polib.pofile(str(source)).save_as_mofile(str(draft))
    draft.replace(source.with_suffix(".mo"))
