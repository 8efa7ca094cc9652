"""The libraries' models by names of our catalogues: some call themselves in English only, others in few languages."""

from __future__ import annotations

from typing import Any

from axes.models import AccessAttempt
from django.apps import apps
from django.db import models
from django.utils.translation import gettext_lazy as _
from django_otp.plugins.otp_totp.models import TOTPDevice

SECTIONS = {"otp_totp": _("Access"), "axes": _("Access")}
MODELS: dict[type[models.Model], tuple[Any, Any]] = {
    TOTPDevice: (_("second factor"), _("second factors")),
    AccessAttempt: (_("failed login"), _("failed logins")),
}
FIELDS: dict[type[models.Model], dict[str, Any]] = {
    TOTPDevice: {
        "user": _("user"),
        "confirmed": _("confirmed"),
        "created_at": _("set up at"),
        "last_used_at": _("last used at"),
    },
    AccessAttempt: {
        "attempt_time": _("last tried at"),
        "ip_address": _("address"),
        "failures_since_start": _("failures"),
        "username": _("login"),
        "user_agent": _("browser"),
    },
}


def give() -> None:
    """Migrations do not see it: they compare what the models were declared with."""
    for label, name in SECTIONS.items():
        apps.get_app_config(label).verbose_name = name
    for model, names in MODELS.items():
        model._meta.verbose_name, model._meta.verbose_name_plural = names
    for model, fields in FIELDS.items():
        for field, name in fields.items():
            model._meta.get_field(field).verbose_name = name  # type: ignore[union-attr]
