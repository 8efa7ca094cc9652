"""Pages of logins and roles, clients, accounts, groups with their conditions, and the books."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from axes.models import AccessAttempt
from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, Permission
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.admin import StackedInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import access_admin  # noqa: F401 (its pages)
from accounts.choices import AccountEventKind, AccountState, ConditionsState
from accounts.dossier_models import AccountEvent, NumberSeries
from accounts.entitlement_models import DataSubscription
from accounts.models import (
    AccessToken,
    Account,
    AccountGroup,
    Balance,
    Client,
    Currency,
    LedgerAccount,
    Posting,
    TradingConditions,
    Transfer,
    User,
)
from accounts.numbering import next_number
from accounts.roles import APPS, Role
from backoffice.admin import NOTHING, LogAdmin, Panel, ReadOnlyAdmin, StaffAdmin, Text, list_url, number

admin.site.unregister(Group)

# --- access -----------------------------------------------------------------------------------------------------------


@admin.register(User)
class UserAdmin(BaseUserAdmin, StaffAdmin):
    """Logins of traders, data servers and staff. What staff may do comes from roles alone."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "kind", "roles", "is_active", "last_login")
    list_filter = ("is_active", "is_staff", "is_data_client", "groups")
    list_select_related = ()
    search_fields = ("username__startswith", "last_name__istartswith", "email__istartswith")
    search_help_text = _("Login, last name or e-mail: its beginning")
    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email")}),
        (_("What it may do"), {"fields": ("is_active", "is_data_client", "is_staff", "groups", "is_superuser")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("username", "usable_password", "password1", "password2")}),)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fixed = super().get_readonly_fields(request, obj)
        return fixed if request.user.is_superuser else [*fixed, "is_superuser"]

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody rises above himself: a superuser's login is changed by superusers."""
        if obj is not None and obj.is_superuser and not request.user.is_superuser:
            return False
        return super().has_change_permission(request, obj)

    @display(description=_("kind"), label={"staff": "info", "server": "warning"})
    def kind(self, user: User) -> tuple[str, Text]:
        if user.is_staff:
            return "staff", _("Staff")
        return ("server", _("Data server")) if user.is_data_client else ("trader", _("Trader"))

    @admin.display(description=_("roles"))
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())


@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, StaffAdmin):
    """The roles, which the program keeps as its table says, and further groups for other rights."""

    list_display = ("name", "is_role")
    fields = ("name", "permissions")
    empty_text = _("There are no roles yet: they are made when the database is migrated.")

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return (obj is None or obj.name not in Role) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return (obj is None or obj.name not in Role) and super().has_delete_permission(request, obj)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest | None = None, **kwargs: Any) -> Any:
        permissions = Permission.objects.filter(content_type__app_label__in=APPS).select_related("content_type")
        return super().formfield_for_manytomany(db_field, request, **kwargs, queryset=permissions)

    @admin.display(description=_("kept by the program"), boolean=True)
    def is_role(self, group: Group) -> bool:
        return group.name in Role


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin):
    """Wrong passwords that count towards a lock. Deleting a row lets its login try again at once."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    fields = ("attempt_time", "username", "ip_address", "user_agent", "path_info", "failures_since_start")
    ordering = ("-attempt_time",)
    search_fields = ("username__startswith",)
    search_help_text = _("Login: its beginning")
    empty_text = _("Nobody has mistyped a password lately.")

    def has_delete_permission(self, request: HttpRequest, obj: AccessAttempt | None = None) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")


# --- clients and accounts ---------------------------------------------------------------------------------------------


@admin.register(Client)
class ClientAdmin(StaffAdmin):
    list_display = ("name", "user", "country", "kyc_state", "is_verified", "tag_list", "created_at")
    list_filter = ("kyc_state", "is_verified")
    list_select_related = ("user",)
    search_fields = ("name__icontains", "user__username__startswith")
    search_help_text = _("Name, or the beginning of the login")
    autocomplete_fields = ("user",)
    fields = (("user", "name"), ("country", "kyc_expires"), ("kyc_state", "is_verified"), "tags")
    readonly_fields = ("kyc_state", "is_verified")  # decided on a page of its own, with a reason
    change_form_outer_before_template = "accounts/client_actions.html"
    empty_text = _("There are no clients yet. Make the client's login first, then add the client.")

    def get_readonly_fields(self, request: HttpRequest, obj: Client | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("user",) if obj else ())]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "tags":
            kwargs["widget"] = UnfoldAdminTextInputWidget
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def panels(self, request: HttpRequest, client: Client) -> Iterable[Panel]:
        yield Panel(
            _("accounts"),
            client.accounts.select_related("group", "currency"),
            ("number", "name", "group", "currency", "type", "state"),
            _("The client has no account yet."),
            list_url(Account, client__id__exact=client.pk),
        )
        yield Panel(
            _("notes"),
            client.notes.select_related("by"),
            ("at", "by", "text"),
            _("Nobody has written anything down yet."),
        )
        yield Panel(
            _("documents"),
            client.documents.select_related("attachment").defer("attachment__content"),
            ("id", "kind", "attachment"),
            _("No paper was handed in yet."),
        )

    @admin.display(description=_("tags"))
    def tag_list(self, client: Client) -> str:
        return ", ".join(client.tags) or NOTHING


class AccountForm(forms.ModelForm):
    """A new account may leave its number to the series of its group."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "number" in self.fields:
            self.fields["number"].required = False
            self.fields["number"].help_text = _("Empty: the next one of the group's number series.")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        group = given.get("group")
        if "number" in self.fields and not given.get("number") and group and group.number_series_id is None:
            self.add_error("number", _("The group has no number series: write a number, or give the group a series."))
        return given


@admin.register(NumberSeries)
class NumberSeriesAdmin(StaffAdmin):
    list_display = ("prefix", "next_number", "width")
    fields = (("prefix", "next_number", "width"),)
    empty_text = _("There are no number series: numbers of accounts are written by hand.")

    def get_readonly_fields(self, request: HttpRequest, obj: NumberSeries | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("prefix",) if obj else ())]


@admin.register(Account)
class AccountAdmin(StaffAdmin):
    """Opening an account decides its number, owner, group and currency; its name and state can change later."""

    list_display = ("number", "name", "client", "group", "currency", "type", "shown_state", "opened_at")
    list_filter = ("state", "type", "group")
    list_select_related = ("client", "group", "currency")
    search_fields = ("number__istartswith", "client__name__icontains", "client__user__username__startswith")
    search_help_text = _("Number or login: its beginning; or the client's name")
    autocomplete_fields = ("client",)
    fields = (("number", "name"), ("client", "group"), ("currency", "type"), "state")
    empty_text = _("There are no accounts yet. Add the client first, then open an account.")
    fixed_once_open = ("number", "client", "group", "currency", "type", "state")
    change_form_outer_before_template = "accounts/account_actions.html"

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(self.fixed_once_open if obj else ())]

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False  # an account is closed, and stays in the books

    def save_model(self, request: HttpRequest, obj: Account, form: forms.ModelForm, change: bool) -> None:
        if change:  # the account's version rises, so that polled answers are made anew
            Account.objects.changing(obj.pk)
        elif not obj.number:
            obj.number = next_number(obj.group)
        super().save_model(request, obj, form, change)
        if not change:
            by = request.user if isinstance(request.user, User) else None
            AccountEvent.objects.create(account=obj, kind=AccountEventKind.OPENED, after=obj.state, by=by)

    def get_form(self, request: HttpRequest, obj: Account | None = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, form=AccountForm, **kwargs)

    @display(
        description=_("state"),
        ordering="state",
        label={
            AccountState.ACTIVE: "success",
            AccountState.CLOSE_ONLY: "warning",
            AccountState.NO_TRADING: "warning",
            AccountState.BLOCKED: "danger",
            AccountState.CLOSED: "",
        },
    )
    def shown_state(self, account: Account) -> tuple[str, str]:
        return account.state, account.get_state_display()

    def panels(self, request: HttpRequest, account: Account) -> Iterable[Panel]:
        of_account = {"account__id__exact": account.pk}
        yield Panel(
            _("timeline"),
            account.events.select_related("by"),
            ("at", "kind", "before", "after", "reason", "by"),
            _("Nothing has happened to the account since it was opened."),
        )
        yield Panel(
            _("balances"),
            account.balances.select_related("currency"),
            ("currency", "total", "reserved"),
            _("No money was ever booked here."),
            list_url(Balance, **of_account),
        )
        yield Panel(
            _("open positions"),
            account.positions.open().select_related("instrument"),
            ("id", "instrument", "side", "qty", "avg_price", "margin", "realized_pl", "opened_at"),
            _("The account holds no position."),
            list_url(account.positions.model, **of_account),
        )
        yield Panel(
            _("margin calls and stop-outs"),
            account.margin_decisions.select_related("order").order_by("-pk"),
            ("at", "kind", "level", "equity", "margin", "order"),
            _("The account has not come near its margin yet."),
            list_url(account.margin_decisions.model, **of_account),
        )
        yield Panel(
            _("latest orders"),
            account.orders.select_related("instrument").order_by("-pk"),
            ("id", "instrument", "side", "type", "qty", "filled_qty", "avg_price", "status", "created_at"),
            _("The account has placed no order yet."),
            list_url(account.orders.model, **of_account),
        )
        yield Panel(
            _("latest executions"),
            account.executions.select_related("instrument").order_by("-pk"),
            ("id", "at", "instrument", "side", "qty", "price", "commission"),
            _("Nothing of the account has been filled yet."),
            list_url(account.executions.model, **of_account),
        )
        yield Panel(
            _("latest postings"),
            Posting.objects.filter(ledger_account__account=account)
            .select_related("transfer", "ledger_account__currency")
            .order_by("-pk"),
            (
                PostingAdmin.booked_at,
                "transfer",
                PostingAdmin.transfer_kind,
                PostingAdmin.currency,
                PostingAdmin.for_client,
            ),
            _("No money was ever booked here."),
            list_url(Posting, ledger_account__account__id__exact=account.pk),
        )
        yield Panel(
            _("cash requests"),
            account.cash_requests.select_related("currency", "maker", "checker"),
            ("id", "kind", "amount", "currency", "state", "maker", "checker"),
            _("Nobody has asked for cash in this account."),
            list_url(account.cash_requests.model, **of_account),
        )
        yield Panel(
            _("data subscriptions"),
            account.client.user.data_subscriptions.select_related("tariff"),
            ("id", "tariff", "starts_at", "ends_at"),
            _("None: the login sees the groups of symbols that no tariff names, and what is for everybody."),
            list_url(DataSubscription, user__id__exact=account.client.user_id),
        )
        yield Panel(
            _("the login's tokens"),
            account.client.user.access_tokens.order_by("-pk"),
            ("id", "created_at", "expires_at", "revoked_at"),
            _("The client has not logged in over the API yet."),
            list_url(AccessToken, user__id__exact=account.client.user_id),
        )


# --- groups and conditions --------------------------------------------------------------------------------------------


CONDITIONS_FIELDS = (
    "effective_from",
    ("margin_rate", "maintenance_rate"),
    ("margin_call_level", "stop_out_level", "protects_negative_balance"),
    ("commission_kind", "commission_rate"),
    ("commission_minimum", "commission_lot", "fee_asset"),
    "market_buffer",
    ("mark_up_pips", "slippage_pips", "last_look_pips"),
    ("max_open_orders", "max_quote_age_seconds"),
    ("stops_both_ways", "stop_limits_both_ways", "price_band"),
    "note",
)


class FirstConditionsInline(StackedInline):
    """The draft of a new group's first conditions. Later versions are drafted on a page of their own."""

    model = TradingConditions
    fields = CONDITIONS_FIELDS
    extra = 0
    max_num = 1
    min_num = 1
    verbose_name = _("first conditions: a draft, in force once somebody else has approved it")
    verbose_name_plural = _("first conditions: a draft, in force once somebody else has approved it")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("accounts.draft_tradingconditions")

    def get_formset(self, request: HttpRequest, obj: AccountGroup | None = None, **kwargs: Any) -> Any:
        return super().get_formset(request, obj, validate_min=True, **kwargs)


@admin.register(AccountGroup)
class AccountGroupAdmin(StaffAdmin):
    list_display = ("name", "profile", "account_count", "state")
    list_filter = ("profile", "state")
    search_fields = ("name__icontains",)
    fields = (("name", "profile"), ("number_series", "state"))
    readonly_fields = ("state",)  # set on a page of its own, with a reason
    inlines: tuple[Any, ...] = (FirstConditionsInline,)
    more_panels: tuple[Callable[[HttpRequest, AccountGroup], Iterable[Panel]], ...] = ()  # of apps that know groups
    change_form_outer_before_template = "accounts/group_actions.html"
    empty_text = _("There are no account groups yet. A group says how its accounts trade, so add one first.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[AccountGroup]:
        return super().get_queryset(request).annotate(accounts_in_group=models.Count("accounts"))

    def get_readonly_fields(self, request: HttpRequest, obj: AccountGroup | None = None) -> Sequence[Any]:
        return [*super().get_readonly_fields(request, obj), *(("profile",) if obj else ())]

    def get_inlines(self, request: HttpRequest, obj: AccountGroup | None) -> Any:
        return [inline for inline in self.inlines if obj is None or inline is not FirstConditionsInline]

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """A new group's conditions begin as the draft of who adds it."""
        if formset.model is TradingConditions:
            for version in formset.save(commit=False):
                version.state, version.drafted_by = ConditionsState.DRAFT, request.user
        super().save_formset(request, form, formset, change)

    @admin.display(description=_("accounts"), ordering="accounts_in_group")
    def account_count(self, group: AccountGroup) -> int:
        return group.accounts_in_group  # type: ignore[attr-defined]

    def panels(self, request: HttpRequest, group: AccountGroup) -> Iterable[Panel]:
        yield Panel(
            _("versions of the conditions"),
            group.conditions.with_current()
            .select_related("drafted_by", "approved_by")
            .order_by("-effective_from", "-pk"),
            (
                "id",
                "effective_from",
                TradingConditionsAdmin.standing,
                "margin_rate",
                "margin_call_level",
                "stop_out_level",
                "commission_kind",
                "commission_rate",
                "note",
                "drafted_by",
                "approved_by",
            ),
            _("There are no conditions yet: the accounts of this group cannot trade."),
            list_url(TradingConditions, group__id__exact=group.pk),
        )
        for panels in self.more_panels:
            yield from panels(request, group)
        yield Panel(
            _("accounts"),
            group.accounts.select_related("client", "currency"),
            ("number", "name", "client", "currency", "state"),
            _("No account trades in this group yet."),
            list_url(Account, group__id__exact=group.pk),
        )


@admin.register(TradingConditions)
class TradingConditionsAdmin(ReadOnlyAdmin):
    """Every version there is, was or may come. It is drafted, approved and compared on pages of its own.

    What a draft says is fixed, but who drafted it edits the tables that belong to it here until it is approved.
    """

    list_display = (
        "id",
        "group",
        "effective_from",
        "standing",
        "margin_rate",
        "margin_call_level",
        "stop_out_level",
        "commission_kind",
        "commission_rate",
        "drafted_by",
        "approved_by",
    )
    list_select_related = ("group", "drafted_by", "approved_by")
    list_filter = ("state", "group")
    fields = (
        ("group", "standing"),
        *CONDITIONS_FIELDS,
        ("drafted_by", "approved_by", "approved_at"),
    )
    inlines: tuple[Any, ...] = ()
    more_panels: tuple[Callable[[HttpRequest, TradingConditions], Iterable[Panel]], ...] = ()
    change_form_outer_before_template = "accounts/conditions_actions.html"
    empty_text = _("There are no conditions yet: add an account group, or draft them on a group's page.")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[TradingConditions]:
        return super().get_queryset(request).with_current()

    def get_readonly_fields(self, request: HttpRequest, obj: TradingConditions | None = None) -> Sequence[Any]:
        fixed = [self._shown(name) for name in flatten(self.fields)]
        return [*super().get_readonly_fields(request, obj), "standing", *fixed]

    def has_change_permission(self, request: HttpRequest, obj: TradingConditions | None = None) -> bool:
        """Only who drafted it: whoever else might approve what he put in himself."""
        is_own = obj is not None and obj.state == ConditionsState.DRAFT and obj.drafted_by_id == request.user.pk
        return is_own and request.user.has_perm("accounts.draft_tradingconditions")

    def panels(self, request: HttpRequest, version: TradingConditions) -> Iterable[Panel]:
        for panels in self.more_panels:
            yield from panels(request, version)

    @staticmethod
    @admin.display(description=_("standing"))
    def standing(version: Any) -> Any:
        if version.state == ConditionsState.DRAFT:
            return _("draft, waits for approval")
        if version.effective_from > timezone.now():
            return _("approved, to come")
        return _("in force") if version.current == version.pk else _("replaced")


# --- money ------------------------------------------------------------------------------------------------------------


@admin.register(Currency)
class CurrencyAdmin(StaffAdmin):
    list_display = ("code", "name", "sign", "decimals", "cash_decimals")
    search_fields = ("code__istartswith", "name__icontains")
    fields = (("code", "name", "sign"), ("decimals", "cash_decimals"))
    empty_text = _("There are no currencies yet. Add those that accounts and instruments use.")

    def get_readonly_fields(self, request: HttpRequest, obj: Currency | None = None) -> Sequence[Any]:
        """The steps stay once there may be postings in them."""
        fixed = ("code", "decimals", "cash_decimals") if obj else ()
        return [*super().get_readonly_fields(request, obj), *fixed]

    def has_delete_permission(self, request: HttpRequest, obj: Currency | None = None) -> bool:
        return False


@admin.register(Balance)
class BalanceAdmin(LogAdmin):
    list_display = ("id", "account", "currency", "total", "reserved")
    list_select_related = ("account", "currency")
    fields = ("account", "currency", ("total", "reserved"), "may_be_negative")
    search_lookup = "account__number"
    search_help_text = _("Number of the account")
    empty_text = _("No money was booked yet.")


@admin.register(LedgerAccount)
class LedgerAccountAdmin(LogAdmin):
    list_display = ("id", "kind", "account", "currency")
    list_select_related = ("account", "currency")
    list_filter = ("kind",)
    fields = ("kind", "account", "currency")
    search_lookup = "account__number"
    search_help_text = _("Number of the account")
    empty_text = _("No money was booked yet.")

    def panels(self, request: HttpRequest, ledger_account: LedgerAccount) -> Iterable[Panel]:
        yield Panel(
            _("latest postings"),
            ledger_account.postings.select_related("transfer").order_by("-pk"),
            (PostingAdmin.booked_at, "transfer", PostingAdmin.transfer_kind, "amount"),
            _("Nothing was posted here yet."),
            list_url(Posting, ledger_account__id__exact=ledger_account.pk),
        )


@admin.register(Transfer)
class TransferAdmin(LogAdmin):
    list_display = ("id", "created_at", "kind", "reference", "by")
    list_select_related = ("by",)
    list_filter = ("kind",)
    fields = (("kind", "reference"), ("by", "created_at"))
    search_lookup = "reference"
    search_help_text = _("Reference, or the number of a transfer")
    empty_text = _("No money was booked yet.")

    def panels(self, request: HttpRequest, transfer: Transfer) -> Iterable[Panel]:
        yield Panel(
            _("postings"),
            transfer.postings.select_related("ledger_account__account", "ledger_account__currency"),
            ("ledger_account", PostingAdmin.currency, "amount"),
            _("A transfer has postings."),
        )


@admin.register(Posting)
class PostingAdmin(LogAdmin):
    """Legs of transfers: debit above zero, credit below. A client's money is a credit."""

    list_display = ("id", "booked_at", "transfer", "transfer_kind", "ledger_account", "currency", "amount")
    list_select_related = ("transfer", "ledger_account__account", "ledger_account__currency")
    fields = ("transfer", "ledger_account", "amount")
    search_lookup = "ledger_account__account__number"
    search_help_text = _("Number of the account, or of a posting")
    empty_text = _("No money was booked yet.")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "ledger_account__account__id__exact" or super().lookup_allowed(lookup, value, request)

    @staticmethod
    @admin.display(description=_("booked"))
    def booked_at(posting: Posting) -> Any:
        return posting.transfer.created_at

    @staticmethod
    @admin.display(description=_("kind"))
    def transfer_kind(posting: Posting) -> str:
        return posting.transfer.get_kind_display()

    @staticmethod
    @admin.display(description=_("client's change"))
    def for_client(posting: Posting) -> str:
        return number(-posting.amount)

    @staticmethod
    @admin.display(description=_("currency"))
    def currency(posting: Posting) -> str:
        return posting.ledger_account.currency_id
