"""Pages of the project itself: signs of life, for machines; and what a form is told that did not come from us."""

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from accounts import guessing
from backoffice import health
from tvapi.views import oauth

# 2 KB: the size of a usual polled answer, so that a client can tell the network's share of its waiting from ours.
PING = json.dumps({"s": "ok", "d": "." * 2028}).encode()


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
    if not request.path_info.startswith(reverse("admin:index")):
        return oauth.csrf_failure(request)
    sentence = _("This page was open for too long, or its cookie is missing. Go back, and send it again.")
    return guessing.refusal(request, sentence, status=403)
