"""The wire: JSON, whatever the client says it accepts (GEN-7)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

# A Decimal becomes the same number, to the last digit (GEN-9); anything else unknown is a lazy sentence.
encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


class WireRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return encode(data)


class PlainResponse(Response):
    """An answer that is JSON already."""

    def __init__(self, text: bytes) -> None:
        super().__init__(content_type=WireRenderer.media_type)
        self._text = text

    @property
    def rendered_content(self) -> bytes:  # type: ignore[override]  # DRF's own returns bytes as well
        self["Content-Type"] = WireRenderer.media_type
        return self._text


class PreparedResponse(PlainResponse):
    """An answer whose JSON exists already, gzipped: it is sent as it is to whoever takes gzip, unpacked to others."""

    def __init__(self, gzipped: bytes, request: Request) -> None:
        is_taken = takes_gzip(request.headers.get("Accept-Encoding", ""))
        super().__init__(gzipped if is_taken else gzip.decompress(gzipped))
        self["Vary"] = "Accept-Encoding"
        if is_taken:
            self["Content-Encoding"] = "gzip"


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip, or everything, and does not refuse it with q=0 (RFC 9110, 12.5.3)."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameter = part.partition(";")
        weights[coding.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter)
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", False)))


class OneKind(BaseContentNegotiation):
    """Every answer is JSON, and a body is a form or is refused."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        sent = (request.content_type or "").partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == sent), None)

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
