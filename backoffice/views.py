"""Pages of the project itself: signs of life, for machines; and what a form is told that did not come from us."""

import json

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views import defaults
from django.views.decorators.cache import never_cache

from accounts import guessing
from backoffice import health
from tvapi import parsers
from tvapi.exceptions import sentence_of
from tvapi.views import oauth

# 2 KB: the size of a usual polled answer, so that a client can tell the network's share of its waiting from ours.
PING = json.dumps({"s": "ok", "d": "." * 2028}).encode()

_UNREAD = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent, MultiPartParserError)


@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 when every part answers, else 503; the body names each part and what is wrong with it."""
    parts = health.report()
    well = all(state == "ok" for state in parts.values())
    return JsonResponse({"status": "ok" if well else "failing", "parts": parts}, status=200 if well else 503)


def ping(request: HttpRequest) -> HttpResponse:
    """A constant 2 KB of JSON behind the middleware that every request passes."""
    return HttpResponse(PING, content_type="application/json")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the page's own field: mostly one that was open while the cookie ended."""
    if not _is_of_admin(request):
        return oauth.csrf_failure(request)
    sentence = _("This page was open for too long, or its cookie is missing. Go back, and send it again.")
    return guessing.refusal(request, sentence, status=403)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A form that Django does not read: its own page for that is in English."""
    if not isinstance(exception, _UNREAD):
        return defaults.bad_request(request, exception)
    parsers.discard(request)
    status = 413 if isinstance(exception, RequestDataTooBig) else 400
    if not _is_of_admin(request):
        return oauth.refusal(request, sentence_of(exception), status=status)
    return guessing.refusal(request, str(sentence_of(exception)), status=status)


def _is_of_admin(request: HttpRequest) -> bool:
    return request.path_info.startswith(reverse("admin:index"))
