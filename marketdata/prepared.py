"""Minutes as JSON without a number being made of any of them: from the database's digits to the wire's.

For the common question, whole days that are closed (HIST-2). Integers of 10**-scale only need their point put in, and
where all of a column have as many digits, as the prices of a day mostly have, that is a few copies of the whole column.
"""

from __future__ import annotations

from functools import lru_cache

from django.db import connection

from marketdata.choices import Resolution
from marketdata.chunks import MINUTE_SECONDS, VOLUME_DECIMALS, start_of_chunk

WHOLE = "0" * VOLUME_DECIMALS + ","
DAYS_KNOWN = 64  # columns of times: instruments with the same hours share them

_CHUNKS = """
SELECT extract(epoch FROM start)::bigint, price_scale, cardinality(t), t[1], t[cardinality(t)],
  array_position(v, 0) IS NOT NULL, t::text, o::text, h::text, l::text, c::text, v::text
FROM marketdata_barchunk
WHERE instrument_id = %(instrument)s AND resolution = %(resolution)s AND cardinality(t) > 0
  AND start BETWEEN %(first)s AND %(last)s
  AND NOT EXISTS (
    SELECT FROM marketdata_openbar
    WHERE instrument_id = %(instrument)s AND minute BETWEEN to_timestamp(%(from)s) AND to_timestamp(%(to)s))
ORDER BY start
"""


def minutes(instrument_id: int, from_: int, to: int) -> dict[str, str] | None:
    """The columns t, o, h, l, c, v as JSON, less their brackets, of all minutes between the two times (Unix seconds).

    None where it is not as plain as that: a minute is in progress or was taken out, a chunk is not wanted whole, or
    there is nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _CHUNKS,
            {
                "instrument": instrument_id,
                "resolution": Resolution.MINUTE,
                "first": start_of_chunk(Resolution.MINUTE, from_),
                "last": start_of_chunk(Resolution.MINUTE, to),
                "from": from_,
                "to": to,
            },
        )
        chunks = cursor.fetchall()
    parts: list[list[str]] = []
    for base, scale, count, first, last, has_gaps, t, *prices, v in chunks:
        if has_gaps or base + first * MINUTE_SECONDS < from_ or to < base + last * MINUTE_SECONDS:
            return None
        parts.append([_times(base, t), *(_prices(text, count, scale) for text in prices), _volumes(v, count)])
    return dict(zip("tohlcv", map(",".join, zip(*parts, strict=True)), strict=True)) if parts else None


@lru_cache(maxsize=DAYS_KNOWN)
def _times(base: int, slots: str) -> str:
    return ",".join(str(base + int(slot) * MINUTE_SECONDS) for slot in slots[1:-1].split(","))


def _prices(array: str, count: int, scale: int) -> str:
    body = f"{array[1:-1]},".encode()
    width = len(body) // count - 1  # digits of each number, if they are alike
    if scale == 0:
        return array[1:-1]
    if width <= scale or len(body) != (width + 1) * count or body[width :: width + 1] != b"," * count:
        return _divided(array, scale)
    line = width + 2  # with its point and its comma
    text = bytearray(line * count)
    for place in range(width):
        text[place + (place >= width - scale) :: line] = body[place :: width + 1]
    text[width - scale :: line] = b"." * count
    text[width + 1 :: line] = b"," * count
    return text[:-1].decode()


def _volumes(array: str, count: int) -> str:
    body = f"{array[1:-1]},"
    if body.count(WHOLE) == count:
        return body.replace(WHOLE, ",")[:-1]
    return _divided(array, VOLUME_DECIMALS)


def _divided(array: str, scale: int) -> str:
    factor = 10**scale
    # An integer divided by an integer is the float nearest to the exact number, and is written as the shortest such.
    return ",".join(repr(int(digits) / factor) for digits in array[1:-1].split(","))
