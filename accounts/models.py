"""Users, clients, account groups with their conditions, accounts, and the double-entry ledger of their money."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

import pgtrigger
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

# Models of this app, in modules of their own.
from accounts import dossier_models, entitlement_models, fence, known, oauth_models, rows  # noqa: F401
from accounts.choices import (
    AccountState,
    AccountType,
    CommissionKind,
    ConditionsState,
    FeeAsset,
    KycState,
    LedgerKind,
    Profile,
    TransferKind,
)
from backoffice.fields import NumericField, plain
from backoffice.triggers import append_only, versioned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

GROUP_STATES = [  # what dealing sets for a whole group
    (state.value, state.label) for state in (AccountState.ACTIVE, AccountState.CLOSE_ONLY, AccountState.NO_TRADING)
]
ACCOUNT_NUMBER_PATTERN = r"^[A-Z0-9-]{1,32}$"


class User(AbstractUser):
    """Whoever logs in: a trader, a data server of TradingView's, or staff."""

    is_data_client = models.BooleanField(
        _("data server"), default=False, help_text=_("Logs in for TradingView's servers, not for a person.")
    )

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")


class AccessToken(models.Model):
    """A bearer token, known by its hash only (AUTH-5, AUTH-6)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="access_tokens", verbose_name=_("user"))
    digest = models.CharField(_("SHA-256"), max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    expires_at = models.DateTimeField(_("expires"))
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    client = models.ForeignKey(
        "OAuthClient", models.CASCADE, null=True, blank=True, related_name="access_tokens", verbose_name=_("client")
    )
    renewal = models.ForeignKey(
        "RenewalToken",
        models.CASCADE,
        null=True,
        blank=True,
        related_name="access_tokens",
        verbose_name=_("renewed by"),
    )

    class Meta:
        verbose_name = _("access token")
        verbose_name_plural = _("access tokens")
        permissions = [("revoke_accesstoken", _("Can end access tokens"))]
        indexes = [models.Index(fields=["expires_at"])]

    def __str__(self) -> str:
        return f"{self.user} {self.digest[:8]}…"


class Client(models.Model):
    """The person or firm behind a trader's login."""

    user = models.OneToOneField(User, models.PROTECT, related_name="client", verbose_name=_("user"))
    name = models.CharField(_("name"), max_length=200)
    country = models.CharField(_("country"), max_length=2, blank=True, help_text=_("Two letters, ISO 3166."))
    is_verified = models.BooleanField(_("identity verified"), default=False)  # ACC-7
    kyc_state = models.CharField(_("identity check"), max_length=16, choices=KycState, default=KycState.NONE)
    kyc_expires = models.DateField(_("papers valid until"), null=True, blank=True)
    tags = ArrayField(
        models.CharField(max_length=32),
        verbose_name=_("tags"),
        default=list,
        blank=True,
        help_text=_("Separate several by commas."),
    )
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("client")
        verbose_name_plural = _("clients")
        permissions = [("verify_client", "Can decide on a client's identity")]
        ordering = ["name"]
        indexes = [GinIndex(fields=["tags"], name="client_tags")]

    def __str__(self) -> str:
        return self.name


class Currency(models.Model):
    """A currency or asset, with the steps its amounts are kept and settled in."""

    code = models.CharField(_("code"), max_length=16, primary_key=True)
    name = models.CharField(_("name"), max_length=100)
    sign = models.CharField(_("sign"), max_length=8, blank=True)
    decimals = models.PositiveSmallIntegerField(
        _("decimals kept"), default=2, help_text=_("Finest step of a posting in this currency.")
    )
    cash_decimals = models.PositiveSmallIntegerField(
        _("decimals settled"),
        default=2,
        help_text=_("Profit, loss and commission of margin accounts are rounded to these."),
    )

    class Meta:
        verbose_name = _("currency")
        verbose_name_plural = _("currencies")
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(decimals__lte=12, cash_decimals__lte=models.F("decimals")), name="currency_decimals"
            )
        ]

    def __str__(self) -> str:
        return self.code

    def round(self, amount: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
        """The amount in the finest step of its postings."""
        return plain(amount.quantize(Decimal(1).scaleb(-self.decimals), rounding=rounding))

    def round_cash(self, amount: Decimal, rounding: str = ROUND_HALF_UP) -> Decimal:
        """The amount as profit, loss and commission are settled: to the cent where there are cents."""
        return plain(amount.quantize(Decimal(1).scaleb(-self.cash_decimals), rounding=rounding))


class AccountGroup(models.Model):
    """Accounts that trade alike: one profile, and one set of conditions at a time."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    profile = models.CharField(_("profile"), max_length=16, choices=Profile)
    state = models.CharField(
        _("state"), max_length=16, choices=GROUP_STATES, default=AccountState.ACTIVE, editable=False
    )
    number_series = models.ForeignKey(
        "NumberSeries",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("number series"),
        help_text=_("Numbers its new accounts when none is given."),
    )

    class Meta:
        verbose_name = _("account group")
        verbose_name_plural = _("account groups")
        permissions = [("stop_accountgroup", "Can stop trading and resume it")]
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=[state for state, _name in GROUP_STATES]), name="group_state"
            )
        ]

    def __str__(self) -> str:
        return self.name

    def conditions_at(self, at: datetime | None = None) -> TradingConditions:
        """The version of the conditions in force. Raises `TradingConditions.DoesNotExist` when none is yet."""
        return self.conditions.begun(at).latest("effective_from")


class TradingConditionsQuerySet(models.QuerySet["TradingConditions"]):
    def approved(self) -> TradingConditionsQuerySet:
        return self.filter(state=ConditionsState.APPROVED)

    def begun(self, at: datetime | None = None) -> TradingConditionsQuerySet:
        """Those that are or were in force: of each group the latest is."""
        return self.approved().filter(effective_from__lte=at or timezone.now())

    def with_current(self) -> TradingConditionsQuerySet:
        """Each with `current`, the number of the version in force in its group."""
        latest = TradingConditions.objects.begun().filter(group=models.OuterRef("group")).order_by("-effective_from")
        return self.annotate(current=models.Subquery(latest.values("pk")[:1]))

    def latest_begun(self, at: datetime | None = None) -> TradingConditionsQuerySet:
        """The version that is or was in force in each group."""
        return self.begun(at).order_by("group_id", "-effective_from").distinct("group_id")

    def in_force(self, group_ids: Iterable[int]) -> dict[int, TradingConditions]:
        """The version in force of each of these groups, by group; those that have none yet are missing."""
        return {conditions.group_id: conditions for conditions in self.latest_begun().filter(group__in=group_ids)}


class TradingConditions(models.Model):
    """One version of a group's conditions: once approved, in force from its date until the next one's.

    What a version says never changes: another wish is another draft. A draft that nobody made is the system's own.
    """

    group = models.ForeignKey(AccountGroup, models.PROTECT, related_name="conditions", verbose_name=_("group"))
    effective_from = models.DateTimeField(_("effective from"))
    margin_rate = NumericField(
        _("margin rate"),
        default=Decimal(1),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_(
            "Needed margin is quantity × price × contract size × this rate, unless the instrument has its own."
        ),
    )
    maintenance_rate = NumericField(
        _("maintenance rate"),
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Part of a position's value at the market that must be kept. Empty: the margin it holds."),
    )
    margin_call_level = NumericField(
        _("margin call level"),
        default=Decimal(100),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Equity as a percentage of the margin to be kept. 0: no margin calls."),
    )
    stop_out_level = NumericField(
        _("stop-out level"),
        default=Decimal(50),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("At this percentage and below, positions are closed, the worst first. 0: never."),
    )
    protects_negative_balance = models.BooleanField(
        _("negative balance protection"),
        default=False,
        help_text=_("A balance below zero is made good once nothing is open."),
    )
    commission_kind = models.CharField(
        _("commission"), max_length=16, choices=CommissionKind, default=CommissionKind.NONE
    )
    commission_rate = NumericField(_("commission rate"), default=Decimal(0), validators=[MinValueValidator(Decimal(0))])
    commission_minimum = NumericField(
        _("least commission"),
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("Per fill, in the currency the commission is charged in."),
    )
    commission_lot = NumericField(
        _("units in a lot"),
        default=Decimal(100_000),
        validators=[MinValueValidator(Decimal("0.000001"))],
        help_text=_("For commission per lot."),
    )
    fee_asset = models.CharField(_("spot commission in"), max_length=16, choices=FeeAsset, default=FeeAsset.QUOTE)
    market_buffer = NumericField(
        _("market order buffer"),
        default=Decimal("0.02"),
        help_text=_(
            "Part added to what a market order holds, against a moving price; what is not needed is given back."
        ),
    )
    stops_both_ways = models.BooleanField(
        _("stop orders on both sides"),
        default=False,
        help_text=_("Stop orders may lie on either side of the market: a market-if-touched order on the other side."),
    )
    stop_limits_both_ways = models.BooleanField(_("stop-limit orders on both sides"), default=False)
    price_band = NumericField(
        _("price band"),
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("How far from the market an order's prices may lie, as a part of it. Empty: as far as one likes."),
    )
    mark_up_pips = NumericField(
        _("mark-up in pips"),
        default=Decimal(0),
        validators=[MinValueValidator(Decimal(0))],
        help_text=_("What we fill ourselves is filled so much dearer for buyers, so much cheaper for sellers."),
    )
    slippage_pips = NumericField(
        _("slippage at most, in pips"),
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_(
            "We fill from the depth no further than this from its best price; the rest waits for the next prices. "
            "Empty: as deep as it takes."
        ),
    )
    last_look_pips = NumericField(
        _("last look, in pips"),
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text=_(
            "A market order is rejected when the price has moved by more than this, either way, since it was accepted. "
            "Orders that close a position never are. Empty: no last look."
        ),
    )
    max_open_orders = models.PositiveIntegerField(_("open orders at most"), default=200)
    max_quote_age_seconds = models.PositiveIntegerField(_("oldest price traded on, in seconds"), default=30)
    state = models.CharField(
        _("state"), max_length=8, choices=ConditionsState, default=ConditionsState.APPROVED, editable=False
    )
    note = models.CharField(_("why"), max_length=500, blank=True)
    drafted_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("drafted by"), editable=False
    )
    approved_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("approved by"), editable=False
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, editable=False)

    objects = TradingConditionsQuerySet.as_manager()

    class Meta:
        verbose_name = _("trading conditions")
        verbose_name_plural = _("trading conditions")
        permissions = [
            ("draft_tradingconditions", "Can draft trading conditions"),
            ("approve_tradingconditions", "Can approve trading conditions"),
        ]
        ordering = ["group", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "effective_from"],
                condition=models.Q(state=ConditionsState.APPROVED),
                name="one_version_a_moment",
            ),
            models.CheckConstraint(
                condition=models.Q(state=ConditionsState.DRAFT, approved_by=None, approved_at=None)
                | models.Q(state=ConditionsState.APPROVED, drafted_by=None, approved_by=None)
                | models.Q(state=ConditionsState.APPROVED, drafted_by__isnull=False, approved_by__isnull=False)
                & ~models.Q(approved_by=models.F("drafted_by")),
                name="conditions_four_eyes",
            ),
            models.CheckConstraint(
                condition=models.Q(
                    margin_rate__gte=0, commission_rate__gte=0, commission_minimum__gte=0, market_buffer__gte=0
                ),
                name="conditions_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(mark_up_pips__gte=0)
                & (models.Q(slippage_pips__gte=0) | models.Q(slippage_pips__isnull=True))
                & (models.Q(last_look_pips__gte=0) | models.Q(last_look_pips__isnull=True)),
                name="conditions_execution_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(maintenance_rate__gte=0) | models.Q(maintenance_rate__isnull=True),
                name="conditions_maintenance_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(stop_out_level__gte=0, margin_call_level__gte=0, commission_lot__gt=0)
                & (models.Q(margin_call_level=0) | models.Q(margin_call_level__gte=models.F("stop_out_level"))),
                name="conditions_levels",
                violation_error_message=_("The margin call comes before the stop-out: its level is not lower."),
            ),
        ]
        triggers = [versioned("conditions")]

    def __str__(self) -> str:
        return f"{self.group} {self.effective_from:%Y-%m-%d %H:%M}"

    @property
    def is_to_come(self) -> bool:
        return self.state == ConditionsState.APPROVED and self.effective_from > timezone.now()


class TermsQuerySet(models.QuerySet["Terms"]):
    def changing(self) -> None:
        """Raise the version of the terms, in the transaction that changes them; the fence follows before its commit."""
        table = self.model._meta.db_table
        raised = self.raw(
            f"INSERT INTO {table} AS t (id, version) VALUES (1, 1)"  # noqa: S608
            " ON CONFLICT (id) DO UPDATE SET version = t.version + 1 RETURNING id, version"
        )
        fence.before_commit(fence.TERMS, next(iter(raised)).version, using=self.db)


class Terms(models.Model):
    """The version of what accounts trade on, apart from their own rows: instruments, hours, conditions, currencies."""

    id = models.SmallIntegerField(primary_key=True)
    version = models.BigIntegerField()

    objects = TermsQuerySet.as_manager()

    class Meta:
        verbose_name = _("terms")
        verbose_name_plural = _("terms")
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_row_of_terms")]

    def __str__(self) -> str:
        return str(self.version)


def columns_with_terms() -> str:
    """Those of an account, with the version of the terms, so that what is known at it need not be read."""
    return f"{rows.columns_of(Account)}, (SELECT version FROM {Terms._meta.db_table}) AS terms"  # noqa: S608


class AccountQuerySet(models.QuerySet["Account"]):
    def of_user(self, user: User) -> AccountQuerySet:
        """What this login may see and trade; nobody else's (ACC-3). A data server has no accounts."""
        if user.is_data_client:
            return self.none()
        return self.filter(client__user=user).exclude(state=AccountState.CLOSED)

    def own(self, user: User, number: str) -> Account:
        """The one of `of_user` with that number, with the version of the terms. Raises `Account.DoesNotExist`.

        Every request of a trader's asks this, and a queryset takes ten times as long to put together as this to run.
        """
        if user.is_data_client:
            raise self.model.DoesNotExist
        found = self._with_terms(
            f"SELECT {columns_with_terms()} FROM {self.model._meta.db_table} WHERE number = %s AND state <> %s"  # noqa: S608
            f" AND client_id IN (SELECT id FROM {Client._meta.db_table} WHERE user_id = %s)",
            [number, AccountState.CLOSED, user.pk],
        )
        for account in found:
            return account
        raise self.model.DoesNotExist

    def changing(self, pk: int) -> Account:
        """Lock the account for a change and raise its version, in one statement; its fence follows before the commit.

        Every writer takes accounts first (by id), then orders, then positions; so none can deadlock. Raises
        `Account.DoesNotExist`. Needs a transaction.
        """
        changed = self._with_terms(
            f"UPDATE {self.model._meta.db_table} SET version = version + 1 WHERE id = %s"  # noqa: S608
            f" RETURNING {columns_with_terms()}",
            [pk],
        )
        for account in changed:
            fence.before_commit(account.pk, account.version, using=self.db)
            return account
        raise self.model.DoesNotExist

    def _with_terms(self, sql: str, params: list[Any]) -> list[Account]:
        found: list[Account] = rows.read(self.model, sql, params, using=self.db, extras=("terms",))
        for account in found:
            account.know()
        return found


class Account(models.Model):
    """A client's trading account. `version` rises with every change of anything in it."""

    number = models.CharField(
        _("number"),
        max_length=32,
        unique=True,
        validators=[RegexValidator(ACCOUNT_NUMBER_PATTERN, _("Use capitals, digits and dashes."))],
    )
    name = models.CharField(_("name"), max_length=100)
    client = models.ForeignKey(Client, models.PROTECT, related_name="accounts", verbose_name=_("client"))
    group = models.ForeignKey(AccountGroup, models.PROTECT, related_name="accounts", verbose_name=_("group"))
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))
    type = models.CharField(_("type"), max_length=8, choices=AccountType, default=AccountType.LIVE)
    state = models.CharField(_("state"), max_length=16, choices=AccountState, default=AccountState.ACTIVE)
    version = models.BigIntegerField(_("version"), default=0, editable=False)
    opened_at = models.DateTimeField(_("opened"), db_default=Now())

    objects = AccountQuerySet.as_manager()

    # The version of the terms, where it was read together with the account: what is known at it is not read again.
    terms: int | None = None

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(condition=models.Q(number__regex=ACCOUNT_NUMBER_PATTERN), name="account_number")
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def profile(self) -> Profile:
        return Profile(self.group.profile)

    def know(self) -> None:
        """Take the group and the currency from what is known at the version of the terms, where that is."""
        if not known.is_sure(self):
            return
        self.group = known.of(self, "group", self.group_id, read=lambda: AccountGroup.objects.get(pk=self.group_id))
        self.currency = self.unit(self.currency_id)

    def unit(self, code: str) -> Currency:
        """A currency, to round amounts with. Raises `Currency.DoesNotExist`."""
        return known.of(self, "currency", code, read=lambda: Currency.objects.get(pk=code))

    def conditions_at(self, at: datetime | None = None) -> TradingConditions:
        """As `AccountGroup.conditions_at`, from all versions, which are known."""
        moment = at or timezone.now()
        for version in self.all_conditions():
            if version.effective_from <= moment:
                return version
        raise TradingConditions.DoesNotExist

    def all_conditions(self) -> list[TradingConditions]:
        """Every approved version of its group's, the last first; those that are yet to come too."""
        return known.of(self, "conditions", self.group_id, read=self._read_conditions)

    def _read_conditions(self) -> list[TradingConditions]:
        return list(TradingConditions.objects.approved().filter(group=self.group_id).order_by("-effective_from"))

    @property
    def trading_state(self) -> AccountState:
        """What it may do now: its own state, or that of its group where that is stricter."""
        return max(AccountState(self.state), AccountState(self.group.state), key=list(AccountState).index)


class Balance(models.Model):
    """What a client has of one currency: the sum of his postings, kept at hand, and how much of it orders reserve.

    Spot assets can never be overdrawn; a margin account's cash can, by a loss.
    """

    account = models.ForeignKey(Account, models.PROTECT, related_name="balances", verbose_name=_("account"))
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))
    total = NumericField(_("total"), default=Decimal(0))
    reserved = NumericField(_("reserved"), default=Decimal(0))
    may_be_negative = models.BooleanField(_("may be negative"), default=False)

    class Meta:
        verbose_name = _("balance")
        verbose_name_plural = _("balances")
        ordering = ["account", "currency"]
        constraints = [
            models.UniqueConstraint(fields=["account", "currency"], name="one_balance_a_currency"),
            models.CheckConstraint(condition=models.Q(reserved__gte=0), name="reserved_not_negative"),
            models.CheckConstraint(
                condition=models.Q(may_be_negative=True) | models.Q(total__gte=models.F("reserved")),
                name="spot_never_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} {self.currency_id} {self.total}"

    @property
    def available(self) -> Decimal:
        return self.total - self.reserved


class LedgerAccount(models.Model):
    """One account of the books: a client's money in one currency, or the house's of one kind."""

    kind = models.CharField(_("kind"), max_length=24, choices=LedgerKind)
    account = models.ForeignKey(
        Account, models.PROTECT, null=True, blank=True, related_name="ledger_accounts", verbose_name=_("account")
    )
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        ordering = ["kind", "account", "currency"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "account", "currency"], nulls_distinct=False, name="one_ledger_account_a_kind"
            ),
            models.CheckConstraint(
                condition=models.Q(kind=LedgerKind.CLIENT, account__isnull=False)
                | (~models.Q(kind=LedgerKind.CLIENT) & models.Q(account__isnull=True)),
                name="client_ledger_has_account",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account or self.get_kind_display()} {self.currency_id}"


class Transfer(models.Model):
    """One movement of money: postings that sum to zero in every currency. `reference` names its one cause."""

    kind = models.CharField(_("kind"), max_length=24, choices=TransferKind)
    reference = models.CharField(_("reference"), max_length=128, unique=True)
    by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("by"))
    created_at = models.DateTimeField(_("created"), db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("transfer")
        verbose_name_plural = _("transfers")
        ordering = ["-id"]
        triggers = append_only("transfer")

    def __str__(self) -> str:
        return self.reference


class Posting(models.Model):
    """One leg of a transfer: debit > 0, credit < 0. A client's money is what the house owes him, so it is a credit."""

    transfer = models.ForeignKey(Transfer, models.PROTECT, related_name="postings", verbose_name=_("transfer"))
    ledger_account = models.ForeignKey(
        LedgerAccount, models.PROTECT, related_name="postings", verbose_name=_("ledger account")
    )
    amount = NumericField(_("amount"))

    class Meta:
        verbose_name = _("posting")
        verbose_name_plural = _("postings")
        ordering = ["id"]
        constraints = [models.CheckConstraint(condition=~models.Q(amount=0), name="posting_not_zero")]
        triggers = [
            *append_only("posting"),
            # At commit, whoever wrote the rows: the legs of each currency sum to zero.
            pgtrigger.Trigger(
                name="transfer_sums_to_zero",
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                timing=pgtrigger.Deferred,
                declare=[("off", "text")],
                func="""
                    SELECT l.currency_id INTO off
                      FROM accounts_posting p JOIN accounts_ledgeraccount l ON l.id = p.ledger_account_id
                     WHERE p.transfer_id = NEW.transfer_id
                     GROUP BY l.currency_id HAVING sum(p.amount) <> 0 LIMIT 1;
                    IF off IS NOT NULL THEN
                        RAISE EXCEPTION 'transfer % does not sum to zero in %', NEW.transfer_id, off
                            USING ERRCODE = 'integrity_constraint_violation';
                    END IF;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.ledger_account} {self.amount}"
