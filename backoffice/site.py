"""The admin site: the theme's, without work for what none of our pages shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from unfold.sites import UnfoldAdminSite


class Site(UnfoldAdminSite):
    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The lists of one application. Of all of them every page would ask, for a menu that the sidebar stands for."""
        return super().get_app_list(request, app_label) if app_label else []
