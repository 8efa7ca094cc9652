"""The record of looks through clients' eyes."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from backoffice.admin import LogAdmin
from backoffice.support.models import Look
from backoffice.support.pages.lens import lens


@admin.register(Look)
class LookAdmin(LogAdmin):
    list_display = ("id", "at", "by", "account", "moment", "locale", "reason")
    list_select_related = ("by", "account")
    list_filter = (("account", AutocompleteSelectFilter),)
    fields = (("by", "at"), ("account", "moment", "locale"), "reason")
    search_lookup = "account__number"
    search_help_text = _("Number of an account, or of a look")
    empty_text = _("Nobody has looked through a client's eyes yet.")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("support.add_look")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return lens(request)
