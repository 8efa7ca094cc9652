"""Failures on the wire: HTTP 200 and a sentence for the user (GEN-3); only a bad token gives 401 (GEN-4)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http.multipartparser import MultiPartParserError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.response import Response

from trading.errors import OrderRejected
from tvapi import usage

logger = logging.getLogger(__name__)


class Refused(Exception):
    """A request that we do not carry out. `sentence` tells the user why; `figures` are its placeholders."""

    def __init__(self, sentence: str | Promise, **figures: object) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.figures = figures

    def __str__(self) -> str:
        return str(self.sentence) % self.figures if self.figures else str(self.sentence)


def unknown_account() -> Refused:
    """For accounts that do not exist and for those of others, in the same words (ACC-3)."""
    return Refused(_("There is no such account."))


def to_wire(error: Exception, context: Mapping[str, Any]) -> Response:
    """The answer for whatever a view raised; DRF's `EXCEPTION_HANDLER`."""
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        text = _("Your session has ended. Please log in again.")
        return Response(failure(text), status=401, headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, OrderRejected):
        usage.refused(error.reason)
    return Response(failure(sentence_of(error)))


def failure(sentence: str | Promise) -> dict[str, str]:
    """The body of a failure."""
    return {"s": "error", "errmsg": str(sentence)}


def sentence_of(error: Exception) -> str | Promise:
    """What the user is told. A fault of ours is logged under an id, and shown without internals."""
    match error:
        case Refused() | OrderRejected():
            return str(error)
        case exceptions.ValidationError():
            return _first_sentence(error.detail)
        case exceptions.MethodNotAllowed():
            return _("This address does not know the method used.")
        case exceptions.UnsupportedMediaType():
            return _("Requests are sent as a form (application/x-www-form-urlencoded).")
        case RequestDataTooBig():
            return _("The request is too large.")
        case TooManyFieldsSent() | TooManyFilesSent():
            return _("The request has too many fields.")
        case MultiPartParserError():
            return _("The request cannot be read.")
        case _:
            logger.error("fault %s", uuid4(), exc_info=error)
            return _("Something went wrong on our side. Please try again.")


def _first_sentence(detail: Any) -> str:
    """A form is refused for the first thing that is wrong with it."""
    while isinstance(detail, dict | list):
        detail = next(iter(detail.values() if isinstance(detail, dict) else detail))
    return str(detail)
