"""Pages of the admin that are no model's: registered with their permission, found in the sidebar, asked by every role.

    @page("books/trial-balance/", title=_("Trial balance"), permission="accounts.view_posting", section="books")
    def trial_balance(request): return render(request, "accounts/trial_balance.html", {...})

An app keeps its pages in `pages.py`; they are found when the addresses are read. `confirmed` asks before something is
done, and an element with `data-live-seconds` renews itself (static/backoffice/live.js).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import redis
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext as _

from accounts import staff
from backoffice import replica

LIVE_SECONDS = 5

Text = str | Promise
View = Callable[..., HttpResponse]
Table = tuple[Text, dict[str, list[Any]], Text]  # title, headers and rows, what an empty one says


@dataclass(frozen=True)
class Page:
    """A registered page. Those with a `section` are linked in the sidebar, so their path has no placeholders."""

    path: str
    name: str
    title: Text
    permission: str
    section: str
    icon: str
    moves_money: bool
    view: View

    def may_open(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(self.permission))

    @property
    def url(self) -> str:
        return reverse(f"page:{self.name}")


registry: dict[str, Page] = {}


def page(
    route: str,
    *,
    title: Text,
    permission: str,
    section: str = "",
    icon: str = "article",
    moves_money: bool = False,
    may_lag: bool = False,
) -> Callable[[View], View]:
    """Register a view under /admin/; its name is the function's. Without the permission the answer is 403.

    One that `moves_money` opens for whoever showed his password lately, and asks others for it. One that `may_lag` only
    reports, and may read a replica.
    """

    def register(view: View) -> View:
        @wraps(view)
        def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            if moves_money and not staff.has_recent_password(request):
                return staff.ask_password(request)
            return view(request, *args, **kwargs)

        name = view.__name__
        shown = replica.may_lag(checked) if may_lag else checked
        registry[name] = Page(route, name, title, permission, section, icon, moves_money, shown)
        return shown

    return register


def urls() -> tuple[list[URLPattern], str]:
    """The addresses of every page, for staff only. Reads the apps' `pages.py`."""
    autodiscover_modules("pages")
    patterns = [path(each.path, admin.site.admin_view(each.view), name=each.name) for each in registry.values()]
    return patterns, "page"


def render(request: HttpRequest, template: str, title: Text, context: dict[str, Any]) -> TemplateResponse:
    """The template within the admin's frame: sidebar, title, messages."""
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


def live(
    request: HttpRequest,
    title: Text,
    make: Callable[[], dict[str, Any]],
    *,
    away: Text,
    always: Mapping[str, Any],
) -> TemplateResponse:
    """A report that renews itself: what `make` gives beside what is `always` there; `away` while Redis is."""
    try:
        found = make()
    except redis.RedisError:
        found = {"sentences": [away]}
    return render(request, "backoffice/report.html", title, {"live_seconds": LIVE_SECONDS, **always, **found})


def confirmed(
    request: HttpRequest,
    title: Text,
    sentences: Iterable[Text],
    *,
    button: Text,
    back: str,
    rows: Iterable[Text] = (),
    tables: Iterable[Table] = (),
    is_dangerous: bool = False,
    asks_reason: bool = False,
    hidden: Iterable[tuple[str, str]] = (),
) -> TemplateResponse | None:
    """None once the user has confirmed; before, the page that says what will happen and asks.

        if answer := confirmed(request, ...): return answer

    The reason that `asks_reason` wants comes as `_reason`, which the audit trail keeps as well.
    """
    reason_missing = asks_reason and not request.POST.get("_reason", "").strip()
    asked = request.method == "POST" and request.POST.get("confirmed") == "yes"
    if asked and not reason_missing:
        return None
    return render(
        request,
        "backoffice/confirm.html",
        title,
        {
            "sentences": list(sentences),
            "rows": list(rows),
            "tables": list(tables),
            "button": button,
            "back": back,
            "variant": "danger" if is_dangerous else "primary",
            "asks_reason": asks_reason,
            "error": _("Write down the reason: it is kept with the change.") if asked else "",
            "hidden": list(hidden),
        },
    )
