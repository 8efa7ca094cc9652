"""The text of recorded files: plain, gz, or zip with one file inside."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from django.utils.translation import gettext_lazy as _


class UnreadableFile(Exception):
    """The file as a whole cannot be used; the message is a sentence for the person at the terminal."""


class RowFault(ValueError):
    """A row that cannot be right; the message says why."""


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOWrapper]:
    """The text of the file, or of the one file in it. Bytes that are no UTF-8 are kept: they make their row a fault."""
    try:
        with _open_binary(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape") as text:
            yield text
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UnreadableFile(_("%(path)s cannot be read: %(error)s") % {"path": path, "error": error}) from error


@contextmanager
def _open_binary(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.open(path) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1:
                raise UnreadableFile(
                    _("%(path)s holds %(count)d files instead of one.") % {"path": path, "count": len(names)}
                )
            with archive.open(names[0]) as raw:
                yield raw
    else:
        with path.open("rb") as raw:
            yield raw
