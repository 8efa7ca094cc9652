"""What each kind of staff may do: one table, kept as Django's groups.

Everybody sees the trading business; logins and tokens are seen by those who answer for them. The groups are brought in
line with the table whenever the schema is migrated: rights beyond it are given by a group of another name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """The value is the name of the group."""

    ADMINISTRATOR = "administrator", _("Administrator")
    OPERATIONS = "operations", _("Operations")
    DEALING = "dealing", _("Dealing")
    SUPPORT = "support", _("Support")
    COMPLIANCE = "compliance", _("Compliance")


# App: the models that staff sees, and who sees them; None: every role.
_LOGINS = frozenset({Role.ADMINISTRATOR, Role.OPERATIONS, Role.COMPLIANCE})
APPS: dict[str, frozenset[Role] | None] = {
    "accounts": None,
    "marketdata": None,
    "trading": None,
    "conformance": None,
    "auth": _LOGINS,
    "axes": _LOGINS,
    "otp_totp": _LOGINS,
    "admin": frozenset({Role.ADMINISTRATOR, Role.COMPLIANCE}),
    "audit": _LOGINS,
    "operations": None,
    "support": None,
}
_TOKENS = _LOGINS | {Role.SUPPORT}
PRIVATE = {
    "user": _LOGINS,
    "oauthclient": _LOGINS,
    "clientsecret": _LOGINS,
    "accesstoken": _TOKENS,
    "renewaltoken": _TOKENS,
    "attachment": _LOGINS,
}

# Beyond seeing, by app and model: the actions of Django's permissions, others are the model's own.
MAY: dict[Role, dict[str, dict[str, tuple[str, ...]]]] = {
    Role.ADMINISTRATOR: {
        "accounts": {
            "user": ("add", "change"),
            "client": ("add", "change", "verify"),
            "clientnote": ("add",),
            "numberseries": ("add", "change"),
            "account": ("add", "change"),
            "accountgroup": ("add", "change", "delete", "stop"),
            "tradingconditions": ("draft", "approve"),
            "currency": ("add", "change"),
            "oauthclient": ("add", "change"),
            "datatariff": ("add", "change", "delete"),
            "datasubscription": ("add", "change", "delete"),
            "accesstoken": ("revoke",),
            "renewaltoken": ("revoke",),
        },
        "marketdata": {
            "instrument": ("add", "change", "state"),
            "symbolgroup": ("add", "change"),
            "mappedinstrument": ("change",),
            "mappingrelease": ("publish",),
            "holiday": ("add", "change", "delete"),
            "barcorrection": ("add",),
            "notice": ("tell",),
            "feedsource": ("add", "change", "delete"),
            "feedroute": ("add", "change", "delete"),
        },
        "trading": {
            "instrumentterms": ("add", "change", "delete"),
            "margintier": ("add", "change", "delete"),
            "fundingrate": ("add",),
            "order": ("cancel",),
            "position": ("close",),
            "bust": ("request", "approve"),
            "fixsession": ("add", "change", "operate"),
            "venueroute": ("add", "change", "delete"),
        },
        "support": {"look": ("add",)},
        "auth": {"group": ("add", "change", "delete")},
        "axes": {"accessattempt": ("delete",)},
        "otp_totp": {"totpdevice": ("add", "delete")},
        "audit": {"entry": ("export",)},
        "operations": {
            "cashrequest": ("request", "approve"),
            "cashlimit": ("add", "change", "delete"),
            "clientdocument": ("add",),
            "job": ("add",),
            "dayend": ("run",),
        },
    },
    Role.OPERATIONS: {
        "accounts": {
            "client": ("add", "change", "verify"),
            "clientnote": ("add",),
            "numberseries": ("add", "change"),
            "account": ("add", "change"),
            "accountgroup": ("add", "change"),
            "tradingconditions": ("draft", "approve"),
            "datasubscription": ("add", "change", "delete"),
            "accesstoken": ("revoke",),
            "renewaltoken": ("revoke",),
        },
        "otp_totp": {"totpdevice": ("add", "delete")},
        "marketdata": {"holiday": ("add", "change", "delete")},
        "trading": {
            "instrumentterms": ("add", "change", "delete"),
            "margintier": ("add", "change", "delete"),
        },
        "axes": {"accessattempt": ("delete",)},
        "support": {"look": ("add",)},
        "operations": {
            "cashrequest": ("request", "approve"),
            "clientdocument": ("add",),
            "job": ("add",),
            "dayend": ("run",),
        },
    },
    Role.DEALING: {
        "support": {"look": ("add",)},
        "accounts": {"accountgroup": ("stop",)},
        "marketdata": {"instrument": ("state",), "barcorrection": ("add",), "notice": ("tell",)},
        "trading": {
            "order": ("cancel",),
            "position": ("close",),
            "bust": ("request", "approve"),
            "fundingrate": ("add",),
            "fixsession": ("operate",),
            "venueroute": ("add", "change", "delete"),
        },
    },
    Role.SUPPORT: {
        "support": {"look": ("add",)},
        "accounts": {"clientnote": ("add",), "accesstoken": ("revoke",), "renewaltoken": ("revoke",)},
        "marketdata": {
            "instrument": ("describe",),
            "symbolgroup": ("add", "change"),
            "mappedinstrument": ("change",),
            "mappingrelease": ("publish",),
            "notice": ("tell",),
        },
    },
    Role.COMPLIANCE: {"audit": {"entry": ("export",)}},
}


def bring_in_line(sender: AppConfig, **kwargs: Any) -> None:
    """Give the roles what the table says of the app's models, no less and no more. A receiver of `post_migrate`."""
    if sender.label not in APPS:
        return
    Group.objects.bulk_create([Group(name=role) for role in Role], ignore_conflicts=True)
    groups = {group.name: group.pk for group in Group.objects.filter(name__in=Role)}
    permissions = {
        (permission.content_type.model, permission.codename): permission.pk
        for permission in Permission.objects.filter(content_type__app_label=sender.label).select_related("content_type")
    }
    wanted = {
        (groups[role], permissions[key])
        for role in Role
        for key in _granted(role, sender.label, {model for model, _codename in permissions})
    }
    grant = Group.permissions.through
    held = grant.objects.filter(group__in=groups.values(), permission__in=permissions.values())
    excess = [pk for pk, *link in held.values_list("pk", "group_id", "permission_id") if tuple(link) not in wanted]
    grant.objects.filter(pk__in=excess).delete()
    grant.objects.bulk_create(
        [grant(group_id=group, permission_id=permission) for group, permission in wanted], ignore_conflicts=True
    )


def _granted(role: Role, app: str, models_of_app: set[str]) -> Iterator[tuple[str, str]]:
    """The role's permissions in this app as (model, codename)."""
    for model in models_of_app:
        may_see = PRIVATE.get(model, APPS[app])
        if may_see is None or role in may_see:
            yield model, f"view_{model}"
    for model, actions in MAY[role].get(app, {}).items():
        for action in actions:
            yield model, f"{action}_{model}"
