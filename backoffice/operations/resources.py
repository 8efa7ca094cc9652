"""What can be imported and exported as a table: clients, accounts, and the instruments of groups."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from import_export import fields, resources, widgets

from accounts import conditions
from accounts.models import Account, AccountGroup, Client, Currency, TradingConditions, User
from backoffice.fields import plain
from backoffice.operations import account_life
from backoffice.operations.models import Job
from marketdata.models import Instrument
from trading.choices import SwapUnit, Weekday
from trading.models import InstrumentTerms

LARGEST = Decimal(10) ** 20


class AmountWidget(widgets.DecimalWidget):
    """An exact number, its refusal in words, and 1.50 no change of 1.5."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Decimal | None:
        text = str(value).strip() if value is not None else ""
        if not text:
            return None
        try:
            amount = Decimal(text)
        except InvalidOperation:
            raise ValueError(_("“%(text)s” is not a number; write 1234.56.") % {"text": text[:40]}) from None
        if not amount.is_finite() or abs(amount) >= LARGEST:
            raise ValueError(_("“%(text)s” is too large.") % {"text": text[:40]})
        return plain(amount)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else str(plain(value))


class NameWidget(widgets.ForeignKeyWidget):
    """A row by its name; a missing one is said in words."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> models.Model | None:
        text = str(value).strip() if value is not None else ""
        if not text:
            return None
        found = self.model._default_manager.filter(**{self.field: text}).first()
        if found is None:
            raise ValueError(
                _("There is no %(what)s “%(name)s”.") % {"what": self.model._meta.verbose_name, "name": text[:64]}
            )
        return found


class TagsWidget(widgets.Widget):
    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> list[str]:
        return [tag.strip()[:32] for tag in str(value or "").split(",") if tag.strip()]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return ", ".join(value or ())


class TableResource(resources.ModelResource):
    """The base: all rows or none, validated as a form would, progress told after each row."""

    progress: Any = None

    def prepare(self, job: Job) -> None:
        """Take from the job what rows need to know."""

    def exported(self) -> models.QuerySet[Any]:
        return self.get_queryset()

    def remark(self) -> str:
        """What else there is to say once all rows are in."""
        return ""

    def after_import_row(self, row: Any, row_result: Any, **kwargs: Any) -> None:
        if self.progress:
            self.progress.step()

    class Meta:
        clean_model_instances = True
        use_transactions = True
        skip_unchanged = True
        report_skipped = True


class ClientResource(TableResource):
    login = fields.Field("user", "login", widget=NameWidget(User, "username"))
    tags = fields.Field("tags", "tags", widget=TagsWidget())

    class Meta(TableResource.Meta):
        model = Client
        fields = ("login", "name", "country", "tags", "kyc_expires")
        import_id_fields = ("login",)


class AccountResource(TableResource):
    """New accounts, and other names of known ones. Group, currency and owner of an account stay as they were opened."""

    client = fields.Field("client", "client", widget=NameWidget(Client, "user__username"))
    group = fields.Field("group", "group", widget=NameWidget(AccountGroup, "name"))
    currency = fields.Field("currency", "currency", widget=NameWidget(Currency, "code"))

    class Meta(TableResource.Meta):
        model = Account
        fields = ("number", "name", "client", "group", "currency", "type")
        import_id_fields = ("number",)

    def before_save_instance(self, instance: Account, row: Any, **kwargs: Any) -> None:
        if instance.pk is None:
            return
        opened = Account.objects.get(pk=instance.pk)
        for name in ("client_id", "group_id", "currency_id", "type"):
            if getattr(opened, name) != getattr(instance, name):
                raise ValueError(
                    _("Account %(number)s is open: only its name can change.") % {"number": instance.number}
                )

    def after_save_instance(self, instance: Account, row: Any, **kwargs: Any) -> None:
        if not instance.events.exists():
            account_life.record_opening(instance, by=kwargs.get("user"))


class DraftWidget(NameWidget):
    """The draft of the group's conditions that the job's rows go into, by the name of the group."""

    by: User
    effective_from: datetime
    note = ""

    def __init__(self) -> None:
        super().__init__(AccountGroup, "name")
        self.drafts: dict[str, TradingConditions | None] = {}

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> models.Model | None:
        name = str(value or "").strip()
        if name not in self.drafts:
            group = super().clean(value, row, **kwargs)
            self.drafts[name] = None
            if isinstance(group, AccountGroup):
                self.drafts[name] = conditions.own_draft(group, self.effective_from, by=self.by, note=self.note)
        return self.drafts[name]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return value.group.name if value else ""


class ChoiceWidget(widgets.Widget):
    """One of a few values, by the name that the program gives it."""

    def __init__(self, values: Mapping[str, Any], empty: Any) -> None:
        super().__init__()
        self.values, self.empty = values, empty

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> Any:
        text = str(value or "").strip().lower()
        if text and text not in self.values:
            raise ValueError(
                _("“%(text)s” is none of: %(known)s.") % {"text": text[:40], "known": ", ".join(self.values)}
            )
        return self.values[text] if text else self.empty

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return next((name for name, each in self.values.items() if each == value), "")


class InstrumentTermsResource(TableResource):
    """Instruments of groups: they come into a draft of each group's conditions, which somebody else approves.

    What the file does not name stays as it is.
    """

    group = fields.Field("conditions", "group", widget=DraftWidget())
    instrument = fields.Field("instrument", "instrument", widget=NameWidget(Instrument, "symbol"))
    is_offered = fields.Field("is_offered", "offered", widget=ChoiceWidget({"yes": True, "no": False}, True))
    margin_rate = fields.Field("margin_rate", "margin_rate", widget=AmountWidget())
    maintenance_rate = fields.Field("maintenance_rate", "maintenance_rate", widget=AmountWidget())
    contract_margin = fields.Field("contract_margin", "contract_margin", widget=AmountWidget())
    contract_maintenance = fields.Field("contract_maintenance", "contract_maintenance", widget=AmountWidget())
    swap_long = fields.Field("swap_long", "swap_long", widget=AmountWidget())
    swap_short = fields.Field("swap_short", "swap_short", widget=AmountWidget())
    swap_unit = fields.Field(
        "swap_unit", "swap_unit", widget=ChoiceWidget({each.value: each.value for each in SwapUnit}, SwapUnit.POINTS)
    )
    triple_day = fields.Field(
        "triple_day",
        "triple_day",
        widget=ChoiceWidget({each.name.lower(): each.value for each in Weekday}, Weekday.WEDNESDAY.value),
    )

    class Meta(TableResource.Meta):
        model = InstrumentTerms
        fields = (
            "group",
            "instrument",
            "is_offered",
            "margin_rate",
            "maintenance_rate",
            "contract_margin",
            "contract_maintenance",
            "max_leverage",
            "swap_long",
            "swap_short",
            "swap_unit",
            "triple_day",
        )
        import_id_fields = ("group", "instrument")

    def prepare(self, job: Job) -> None:
        widget = self.fields["group"].widget
        widget.by, widget.note = job.by, job.arguments.get("note") or job.title
        given = job.arguments.get("effective_from")
        widget.effective_from = datetime.fromisoformat(given) if given else next_midnight()

    def exported(self) -> models.QuerySet[Any]:
        return self.get_queryset().in_force().select_related("conditions__group", "instrument")

    def remark(self) -> str:
        drafts = [draft for draft in self.fields["group"].widget.drafts.values() if draft]
        return ngettext(
            "%(count)s draft of conditions waits for somebody else's approval: %(groups)s.",
            "%(count)s drafts of conditions wait for somebody else's approval: %(groups)s.",
            len(drafts),
        ) % {"count": len(drafts), "groups": ", ".join(draft.group.name for draft in drafts)}


def next_midnight() -> datetime:
    """When a version begins unless it is said otherwise."""
    return (timezone.now() + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)


# What the page calls them: the resource, and the permissions that importing needs.
RESOURCES: dict[str, tuple[type[TableResource], tuple[str, ...]]] = {
    "clients": (ClientResource, ("accounts.add_client", "accounts.change_client")),
    "accounts": (AccountResource, ("accounts.add_account", "accounts.change_account")),
    "group instruments": (InstrumentTermsResource, ("accounts.draft_tradingconditions",)),
}
