"""What the operations desk asks for, decides and keeps: cash requests under four eyes, their limits and papers."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pgtrigger
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.models import Account, Client, Currency, Transfer, User
from accounts.roles import Role
from backoffice.fields import NumericField
from backoffice.operations.choices import TRANSITIONS, CashKind, DocumentKind, JobState, RequestState
from backoffice.triggers import append_only, no_truncate


class Attachment(models.Model):
    """A paper, kept in the database so that it shares its fate and its backups. Never changed."""

    name = models.CharField(_("file name"), max_length=200)
    content_type = models.CharField(_("type"), max_length=100)
    content = models.BinaryField(_("content"))
    size = models.PositiveIntegerField(_("size in bytes"))
    sha256 = models.CharField("SHA-256", max_length=64)
    by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("by"))
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("attachment")
        verbose_name_plural = _("attachments")
        triggers = append_only("attachment")

    def __str__(self) -> str:
        return self.name

    @classmethod
    def keep(cls, name: str, content_type: str, content: bytes, *, by: User) -> Attachment:
        return cls.objects.create(
            name=name,
            content_type=content_type,
            content=content,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            by=by,
        )


class ClientDocument(models.Model):
    """A paper of a client's, handed in for the identity check or otherwise. Never changed."""

    client = models.ForeignKey(Client, models.PROTECT, related_name="documents", verbose_name=_("client"))
    kind = models.CharField(_("kind"), max_length=16, choices=DocumentKind)
    attachment = models.ForeignKey(Attachment, models.PROTECT, related_name="+", verbose_name=_("attachment"))

    class Meta:
        verbose_name = _("document")
        verbose_name_plural = _("documents")
        ordering = ["-id"]
        triggers = append_only("client_document")

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class Job(models.Model):
    """Long work that a worker does: how far it is, whether it shall stop, and what came of it.

    `arguments` are what it was asked with. Its result is a file, offered on its page.
    """

    kind = models.CharField(_("kind"), max_length=32)
    title = models.CharField(_("title"), max_length=200)
    arguments = models.JSONField(_("arguments"), default=dict)
    upload = models.ForeignKey(Attachment, models.PROTECT, null=True, related_name="+", verbose_name=_("file"))
    state = models.CharField(_("state"), max_length=16, choices=JobState, default=JobState.QUEUED)
    done = models.PositiveIntegerField(_("done"), default=0)
    total = models.PositiveIntegerField(_("of"), default=0)
    cancel_asked = models.BooleanField(_("shall stop"), default=False)
    message = models.CharField(_("message"), max_length=500, blank=True)
    result = models.ForeignKey(Attachment, models.PROTECT, null=True, related_name="+", verbose_name=_("result"))
    by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("by"))
    created_at = models.DateTimeField(_("created"), db_default=Now())
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(done__lte=F("total")), name="job_done_within_total")]

    def __str__(self) -> str:
        return f"{self.pk}: {self.title}"

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None


class DayEnd(models.Model):
    """The report of one day's end: what the books and the trail said at that moment. Never changed."""

    day = models.DateField(_("day"), unique=True)
    made_at = models.DateTimeField(_("made at"), db_default=Now())
    totals = models.JSONField(_("trial balance"), help_text=_("Sum of postings by ledger account and currency."))
    figures = models.JSONField(_("figures"))
    faults = models.JSONField(_("faults of the books"), default=list)
    audit_faults = models.JSONField(_("faults of the audit trail"), default=list)
    audit_head = models.CharField(_("end of the audit trail"), max_length=96, blank=True)

    class Meta:
        verbose_name = _("end of day")
        verbose_name_plural = _("ends of days")
        permissions = [("run_dayend", "Can run the end of day")]
        ordering = ["-day"]
        triggers = append_only("day_end")

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d}"

    @property
    def is_well(self) -> bool:
        return not self.faults and not self.audit_faults


class CashRequestQuerySet(models.QuerySet["CashRequest"]):
    def waiting(self) -> CashRequestQuerySet:
        return self.filter(state=RequestState.REQUESTED)

    def waiting_for(self, user: User) -> CashRequestQuerySet:
        """What somebody else asked for, so that this user may decide it."""
        return self.waiting().exclude(maker=user)


class CashRequest(models.Model):
    """Money that shall move: one person asks, another decides. What leaves an account is set aside from the asking on.

    `amount` is in `currency` and positive; an adjustment may take, so it is negative then. `key` is the asking form's
    own: sent twice, it is one request. The database holds the four eyes: the checker is another than the maker, the
    maker and all that was asked never change, and nothing is approved without its transfer.
    """

    kind = models.CharField(_("kind"), max_length=16, choices=CashKind)
    account = models.ForeignKey(Account, models.PROTECT, related_name="cash_requests", verbose_name=_("account"))
    to_account = models.ForeignKey(
        Account,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="incoming_cash_requests",
        verbose_name=_("to account"),
    )
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))
    amount = NumericField(_("amount"))
    reason = models.CharField(_("reason"), max_length=500)
    attachment = models.ForeignKey(
        Attachment, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("attachment")
    )
    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    state = models.CharField(_("state"), max_length=16, choices=RequestState, default=RequestState.REQUESTED)
    maker = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("asked for by"))
    requested_at = models.DateTimeField(_("asked for at"), db_default=Now())
    checker = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decision = models.CharField(_("note of the decision"), max_length=500, blank=True)
    transfer = models.OneToOneField(
        Transfer, models.PROTECT, null=True, blank=True, related_name="cash_request", verbose_name=_("booked as")
    )

    objects = CashRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("cash request")
        verbose_name_plural = _("cash requests")
        permissions = [("request_cashrequest", "Can ask for cash"), ("approve_cashrequest", "Can decide cash requests")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["account", "-id"]),
            models.Index(fields=["id"], condition=Q(state="requested"), name="cash_waiting"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(amount__gt=0) | Q(kind=CashKind.ADJUSTMENT) & ~Q(amount=0), name="cash_amount_of_kind"
            ),
            models.CheckConstraint(
                condition=Q(kind=CashKind.TRANSFER, to_account__isnull=False) & ~Q(to_account=F("account"))
                | ~Q(kind=CashKind.TRANSFER) & Q(to_account__isnull=True),
                name="cash_transfer_has_two_accounts",
            ),
            models.CheckConstraint(condition=~Q(checker=F("maker")), name="cash_four_eyes"),
            models.CheckConstraint(
                condition=Q(state="requested", checker=None, decided_at=None, transfer=None)
                | Q(state="approved", checker__isnull=False, decided_at__isnull=False, transfer__isnull=False)
                | Q(state="rejected", checker__isnull=False, decided_at__isnull=False, transfer=None)
                | Q(state="cancelled", checker=None, decided_at__isnull=False, transfer=None),
                name="cash_state_is_complete",
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="cash_state_table",
                field="state",
                transitions=[
                    (before.value, after.value) for before, ends in TRANSITIONS.items() for after in sorted(ends)
                ],
            ),
            pgtrigger.Protect(
                name="cash_begins_asked_for", operation=pgtrigger.Insert, condition=~pgtrigger.Q(new__state="requested")
            ),
            pgtrigger.ReadOnly(
                name="cash_stays_as_asked",
                fields=[
                    "kind",
                    "account",
                    "to_account",
                    "currency",
                    "amount",
                    "reason",
                    "attachment",
                    "key",
                    "maker",
                    "requested_at",
                ],
            ),
            # What was decided stays decided, the name of who did it too.
            pgtrigger.Protect(
                name="cash_decision_stays",
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="requested"),
            ),
            pgtrigger.Protect(name="cash_never_deleted", operation=pgtrigger.Delete),
            no_truncate("cash"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}: {self.amount} {self.currency_id}, {self.account}"

    @property
    def takes(self) -> Decimal:
        """What it takes from `account`, so what is set aside for it; nothing for money that comes in."""
        if self.kind in (CashKind.WITHDRAWAL, CashKind.TRANSFER):
            return self.amount
        return max(-self.amount, Decimal(0)) if self.kind == CashKind.ADJUSTMENT else Decimal(0)


class CashLimit(models.Model):
    """The largest amount of a currency that a role may ask for, and decide. Without a row there is no limit."""

    role = models.CharField(_("role"), max_length=16, choices=Role)
    currency = models.ForeignKey(Currency, models.PROTECT, related_name="+", verbose_name=_("currency"))
    request_limit = NumericField(_("may ask for up to"), validators=[MinValueValidator(Decimal(0))])
    approve_limit = NumericField(_("may approve up to"), validators=[MinValueValidator(Decimal(0))])

    class Meta:
        verbose_name = _("cash limit")
        verbose_name_plural = _("cash limits")
        ordering = ["role", "currency"]
        constraints = [
            models.UniqueConstraint(fields=["role", "currency"], name="one_cash_limit_a_role"),
            models.CheckConstraint(condition=Q(request_limit__gte=0, approve_limit__gte=0), name="cash_limit_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} {self.currency_id}"
