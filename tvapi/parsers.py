"""Reading forms strictly: what is ambiguous is refused, so that nobody's order depends on which of two fields we took.

Bodies and queries obey the same rules: UTF-8, no NUL, no field twice. A field without a value counts as not sent, and
fields that nobody asks for are tolerated (GEN-6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import parse_qsl

from django.core.handlers.wsgi import get_bytes_from_wsgi
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from rest_framework.parsers import BaseParser

from tvapi.exceptions import Refused

BODY_LIMIT = 64 * 1024
FIELDS_LIMIT = 200
# What is too long is still read, up to here: a connection closed on a client that is sending shows him no answer.
DISCARD_LIMIT = 8 * 1024 * 1024


class StrictFormParser(BaseParser):
    """The only kind of body there is (GEN-6): others have no parser and are refused."""

    media_type = "application/x-www-form-urlencoded"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, str]:
        return form(read_body(stream))


def read_body(stream: IO[Any] | HttpRequest) -> bytes:
    """The whole body. Raises Refused when it is too long."""
    body: bytes = stream.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        discard(stream)
        raise Refused(_("The request is too large."))
    return body


def query(request: HttpRequest) -> dict[str, str]:
    """The fields of the request's query. Raises Refused."""
    return form(get_bytes_from_wsgi(request.META, "QUERY_STRING", ""))


def form(raw: bytes) -> dict[str, str]:
    """The fields that have a value, by name. Raises Refused."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_LIMIT)
    except UnicodeDecodeError as error:
        raise Refused(_("The request is not valid UTF-8.")) from error
    except ValueError as error:
        raise Refused(_("The request has too many fields.")) from error
    fields: dict[str, str] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise Refused(_("The request contains characters that are not allowed."))
        if name in fields:
            raise Refused(_("The field “%(field)s” was sent twice."), field=name[:64])
        fields[name] = value
    return {name: value for name, value in fields.items() if value}


def discard(stream: IO[Any] | HttpRequest) -> None:
    """Read what is left of a body that is refused, up to the limit."""
    for _chunk in range(DISCARD_LIMIT // BODY_LIMIT):
        if not stream.read(BODY_LIMIT):
            return
