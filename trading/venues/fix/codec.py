"""FIX messages as bytes: built and read by simplefix, checked here, because it takes whatever parses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import simplefix
from simplefix.errors import ParsingError

BEGIN_STRING = "FIX.4.4"
SOH = b"\x01"
HEADER = (8, 9, 10, 34, 35, 43, 49, 52, 56, 122)  # tags made anew whenever a message is sent
LARGEST_BYTES = 64 * 1024  # of one message: more is no FIX

Fields = Iterable[tuple[int, str]]


class NotFix(Exception):
    """What comes is no FIX: the connection is of no use any more."""


class Message:
    """A message read. A tag that is missing is an empty text."""

    def __init__(self, parsed: simplefix.FixMessage) -> None:
        self._parsed = parsed
        self.type = self.text(35)

    def text(self, tag: int) -> str:
        value: bytes | None = self._parsed.get(tag)
        return "" if value is None else value.decode("utf-8", "replace")

    def number(self, tag: int) -> int:
        """The number in this tag; 0 when it is missing or no number."""
        text = self.text(tag)
        return int(text) if text.isascii() and text.isdigit() else 0

    def flag(self, tag: int) -> bool:
        return self.text(tag) == "Y"

    @property
    def fields(self) -> list[tuple[int, str]]:
        return [(int(tag), value.decode("utf-8", "replace")) for tag, value in self._parsed.pairs]

    def __str__(self) -> str:
        return "|".join(f"{tag}={value}" for tag, value in self.fields)


class Reader:
    """Messages out of a stream of bytes. One that is garbled is dropped: its number is missed, and asked for again."""

    def __init__(self) -> None:
        self._parser = simplefix.FixParser(allow_empty_values=True)

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are complete now. Raises NotFix."""
        self._parser.append_buffer(data)
        try:
            while (parsed := self._parser.get_message()) is not None:
                if _is_intact(parsed):
                    yield Message(parsed)
        except ParsingError as error:
            raise NotFix(str(error)) from error
        if len(self._parser.get_buffer()) > LARGEST_BYTES:
            raise NotFix("a message without an end")


def encode(type_: str, seq: int, sender: str, target: str, body: Fields, header: Fields = ()) -> bytes:
    """A message ready for the wire; `header` holds what goes before the body beside the usual."""
    message = simplefix.FixMessage()
    for tag, value in ((8, BEGIN_STRING), (35, type_), (49, sender), (56, target), (34, str(seq)), (52, stamp())):
        message.append_pair(tag, value, header=True)
    for tag, value in header:
        message.append_pair(tag, value, header=True)
    for tag, value in body:
        message.append_pair(tag, value.replace("\x01", " "))
    raw: bytes = message.encode()
    return raw


def read(raw: str) -> Message:
    """A message that was stored."""
    return next(Reader().feed(raw.encode()))


def stamp(at: datetime | None = None) -> str:
    """A moment as FIX writes it (UTCTimestamp); now when none is given."""
    return f"{at or datetime.now(UTC):%Y%m%d-%H:%M:%S.%f}"[:-3]


def _is_intact(parsed: simplefix.FixMessage) -> bool:
    """Do version, length (9) and checksum (10) agree with what was sent?"""
    pairs = parsed.pairs
    if [int(tag) for tag, _ in pairs[:3]] != [8, 9, 35] or pairs[0][1] != BEGIN_STRING.encode():
        return False
    whole: bytes = parsed.encode(raw=True)
    before_checksum = whole[: whole.rindex(SOH, 0, -1) + 1]
    body = before_checksum.split(SOH, 2)[2]
    expected = (b"%d" % len(body), b"%03d" % (sum(before_checksum) % 256))
    return expected == (pairs[1][1], pairs[-1][1])
