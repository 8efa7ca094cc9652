"""What can be imported and exported as a table: clients, accounts, and the instruments of groups."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import models
from django.utils.translation import gettext as _
from import_export import fields, resources, widgets

from accounts.models import Account, AccountGroup, Client, Currency, User
from backoffice.fields import plain
from backoffice.operations import account_life
from marketdata.models import Instrument
from trading.models import GroupInstrument

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


class GroupInstrumentResource(TableResource):
    group = fields.Field("group", "group", widget=NameWidget(AccountGroup, "name"))
    instrument = fields.Field("instrument", "instrument", widget=NameWidget(Instrument, "symbol"))
    margin_rate = fields.Field("margin_rate", "margin_rate", widget=AmountWidget())

    class Meta(TableResource.Meta):
        model = GroupInstrument
        fields = ("group", "instrument", "margin_rate")
        import_id_fields = ("group", "instrument")


# What the page calls them: the resource, and the permissions that importing needs.
RESOURCES: dict[str, tuple[type[TableResource], tuple[str, ...]]] = {
    "clients": (ClientResource, ("accounts.add_client", "accounts.change_client")),
    "accounts": (AccountResource, ("accounts.add_account", "accounts.change_account")),
    "group instruments": (GroupInstrumentResource, ("trading.add_groupinstrument", "trading.change_groupinstrument")),
}
