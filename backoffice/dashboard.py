"""The admin's first page: the few numbers that matter to who logs in, and what needs his attention.

Counts of tables that grow for ever are asked of partial indexes, or stop at `COUNTED_UP_TO`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple, cast

import redis
from django.core.cache import cache
from django.db import models
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from accounts.choices import AccountState, ConditionsState, KycState
from accounts.models import Account, Client, TradingConditions, User
from backoffice import health
from backoffice.admin import Panel, Text, list_url, may_view, subject
from backoffice.audit.models import Entry
from backoffice.integration import alarms as integration_alarms
from backoffice.operations.choices import JobState
from backoffice.operations.models import CashRequest, DayEnd, Job
from marketdata.choices import InstrumentState, MappingState
from marketdata.models import Instrument, MappedInstrument
from trading import exposure as margin_exposure
from trading.choices import BustState, DecisionKind
from trading.models import Bust, MarginDecision, Order, Position
from trading.states import OrderStatus

RECENT = timedelta(hours=24)
COUNTED_UP_TO = 10_000
MAPPINGS_AGE = 15  # seconds: what the page waits before it renews itself
SLOW_ORDER = timedelta(seconds=10)  # queued longer than this, an order waits for a worker that does not come


class Figure(NamedTuple):
    """A number of the overview, and the list behind it."""

    title: Text
    value: str
    url: str
    hint: Text = ""


class Alarm(NamedTuple):
    """Something to do: a sentence, and where it is done. An urgent one is shown first and in red."""

    text: str
    url: str
    is_urgent: bool = False


class Part(NamedTuple):
    name: str
    state: str
    is_well: bool


def add_numbers(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Complete the page's context. Everybody sees the numbers of what he may look at, and what he can do about them."""
    parts = [Part(name, state, state == "ok") for name, state in health.report().items()]
    context["figures"] = _figures(request)
    context["parts"] = parts
    context["alarms"] = sorted(_alarms(request, parts), key=lambda alarm: not alarm.is_urgent)
    context["panels"] = list(_panels(request))
    return context


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(request: HttpRequest) -> list[Figure]:
    """First those of the user's own desk."""
    figures: list[Figure] = []
    for permission, found in (
        ("operations.approve_cashrequest", _operations_figures),
        ("trading.request_bust", _dealing_figures),
        ("marketdata.change_mappedinstrument", _support_figures),
        ("audit.export_entry", _compliance_figures),
    ):
        if request.user.has_perm(permission):
            figures += found()
    if may_view(request, Order):
        figures += _order_figures()
    if may_view(request, Position):
        positions = _count(Position.objects.open())
        figures.append(Figure(_("Open positions"), positions, list_url(Position, closed_at__isempty=1)))
    if may_view(request, Account):
        active = Account.objects.filter(state=AccountState.ACTIVE)
        url = list_url(Account, state__exact=AccountState.ACTIVE.value)
        figures.append(Figure(_("Active accounts"), _count(active), url))
    return figures


def _operations_figures() -> list[Figure]:
    pending = Client.objects.filter(kyc_state=KycState.PENDING)
    return [
        Figure(_("Cash requests waiting"), _count(CashRequest.objects.waiting()), list_url(CashRequest)),
        Figure(_("Clients to check"), _count(pending), list_url(Client, kyc_state__exact=KycState.PENDING.value)),
    ]


def _dealing_figures() -> list[Figure]:
    closed = MarginDecision.objects.filter(kind=DecisionKind.CLOSE, at__gte=timezone.now() - RECENT)
    return [Figure(_("Stop-outs in 24 hours"), _count(closed), reverse("page:desk_margin"))]


def _support_figures() -> list[Figure]:
    counts = _mapping_counts()
    return [
        Figure(
            title, number_format(counts[state], force_grouping=True), list_url(MappedInstrument, mapping=state.value)
        )
        for state, title in (
            (MappingState.UNMAPPED, _("Symbols without a mapping")),
            (MappingState.SUGGESTED, _("Suggested mappings")),
            (MappingState.BROKEN, _("Broken mappings")),
        )
    ]


def _mapping_counts() -> Counter[str]:
    """By state; counted once for all who look, as it takes a tenth of a second with ten thousand symbols."""
    try:
        found = cache.get_or_set("mapping-counts", MappedInstrument.workbench.counts, MAPPINGS_AGE)
    except redis.RedisError:
        found = MappedInstrument.workbench.counts()
    return cast("Counter[str]", found)


def _compliance_figures() -> list[Figure]:
    recent = Entry.objects.filter(at__gte=timezone.now() - RECENT)
    return [Figure(_("Changes in 24 hours"), _count(recent), list_url(Entry))]


def _order_figures() -> list[Figure]:
    working = Order.objects.filter(status=OrderStatus.WORKING)
    recent = Order.objects.filter(created_at__gte=timezone.now() - RECENT).order_by("-pk")
    return [
        Figure(_("Working orders"), _count(working), list_url(Order, status__exact=OrderStatus.WORKING.value)),
        Figure(
            _("Waiting for the venue"),
            _count(Order.objects.queued()),
            list_url(Order, queued__exact=1),
            _("More than a few for long: look at the worker."),
        ),
        Figure(_("Orders in 24 hours"), _count(recent), list_url(Order)),
    ]


def _count(rows: models.QuerySet[Any]) -> str:
    """How many there are, up to a number that says enough."""
    count = rows.order_by()[: COUNTED_UP_TO + 1].count()
    text = number_format(min(count, COUNTED_UP_TO), force_grouping=True)
    return f"{text}+" if count > COUNTED_UP_TO else text


# --- what needs attention ---------------------------------------------------------------------------------------------


def _alarms(request: HttpRequest, parts: list[Part]) -> Iterator[Alarm]:
    user = cast(User, request.user)  # the site lets nobody else in
    yield from _silent_parts(parts)
    for permission, found in (
        ("trading.view_order", _stuck_orders),
        ("trading.request_bust", _margin_calls),
        ("trading.approve_bust", _busts),
        ("operations.approve_cashrequest", _cash),
        ("accounts.approve_tradingconditions", _conditions),
        ("accounts.verify_client", _clients),
        ("marketdata.view_instrument", _instruments),
        ("marketdata.change_mappedinstrument", _mappings),
        ("operations.view_dayend", _day_end),
        ("conformance.view_conformancerun", _integration),
        ("operations.view_job", _jobs),
    ):
        if user.has_perm(permission):
            yield from found(user)


def _silent_parts(parts: list[Part]) -> Iterator[Alarm]:
    for part in parts:
        if not part.is_well:
            text = _("%(part)s: %(state)s") % {"part": part.name, "state": part.state}
            yield Alarm(text, reverse("admin:index"), True)


def _integration(user: User) -> Iterator[Alarm]:
    try:
        found = integration_alarms.all_now()
    except redis.RedisError:
        return  # which the parts say already
    for text in found:
        yield Alarm(text, reverse("page:integration_monitor"))


def _jobs(user: User) -> Iterator[Alarm]:
    failed = Job.objects.filter(by=user, state=JobState.FAILED, finished_at__gte=timezone.now() - RECENT).count()
    if failed:
        text = ngettext("%(count)s of your jobs failed.", "%(count)s of your jobs failed.", failed)
        yield Alarm(text % {"count": failed}, list_url(Job, state__exact=JobState.FAILED.value))


def _stuck_orders(user: User) -> Iterator[Alarm]:
    stuck = Order.objects.queued().filter(updated_at__lt=timezone.now() - SLOW_ORDER).count()
    if stuck:
        text = ngettext(
            "%(count)s order waits for the venue for more than %(seconds)s seconds: sweeping does not reach it.",
            "%(count)s orders wait for the venue for more than %(seconds)s seconds: sweeping does not reach them.",
            stuck,
        )
        words = {"count": stuck, "seconds": SLOW_ORDER.seconds}
        yield Alarm(text % words, list_url(Order, queued__exact=1), True)


def _cash(user: User) -> Iterator[Alarm]:
    waiting = CashRequest.objects.waiting_for(user).count()
    if waiting:
        text = ngettext(
            "%(count)s cash request waits for your decision.",
            "%(count)s cash requests wait for your decision.",
            waiting,
        )
        yield Alarm(text % {"count": waiting}, list_url(CashRequest, waiting="me"))


def _margin_calls(user: User) -> Iterator[Alarm]:
    warned = len(margin_exposure.warned_accounts())
    if warned:
        text = ngettext(
            "%(count)s account is below its margin call.", "%(count)s accounts are below their margin call.", warned
        )
        yield Alarm(text % {"count": warned}, reverse("page:desk_margin"))


def _busts(user: User) -> Iterator[Alarm]:
    waiting = Bust.objects.waiting().exclude(maker=user).count()
    if waiting:
        text = ngettext("%(count)s bust waits for your decision.", "%(count)s busts wait for your decision.", waiting)
        yield Alarm(text % {"count": waiting}, list_url(Bust, state__exact=BustState.REQUESTED.value))


def _conditions(user: User) -> Iterator[Alarm]:
    drafts = TradingConditions.objects.filter(state=ConditionsState.DRAFT).exclude(drafted_by=user).count()
    if drafts:
        text = ngettext(
            "%(count)s draft of conditions waits for your approval.",
            "%(count)s drafts of conditions wait for your approval.",
            drafts,
        )
        yield Alarm(text % {"count": drafts}, list_url(TradingConditions, state__exact=ConditionsState.DRAFT.value))


def _clients(user: User) -> Iterator[Alarm]:
    pending = Client.objects.filter(kyc_state=KycState.PENDING).count()
    if pending:
        text = ngettext(
            "%(count)s client's papers wait for a check.", "%(count)s clients' papers wait for a check.", pending
        )
        yield Alarm(text % {"count": pending}, list_url(Client, kyc_state__exact=KycState.PENDING.value))


def _instruments(user: User) -> Iterator[Alarm]:
    halted = Instrument.objects.filter(state=InstrumentState.HALTED).count()
    if halted:
        text = ngettext("%(count)s instrument is halted.", "%(count)s instruments are halted.", halted)
        yield Alarm(text % {"count": halted}, list_url(Instrument, state__exact=InstrumentState.HALTED.value))


def _mappings(user: User) -> Iterator[Alarm]:
    drafts = _mapping_counts()[MappingState.DRAFT]
    if drafts:
        text = ngettext("%(count)s mapping is a draft.", "%(count)s mappings are drafts.", drafts)
        yield Alarm(text % {"count": drafts}, list_url(MappedInstrument, mapping=MappingState.DRAFT.value))


def _day_end(user: User) -> Iterator[Alarm]:
    last = DayEnd.objects.order_by("-day").first()
    if last and not last.is_well:
        text = _("The end of %(day)s found faults: read its report.") % {"day": last}
        yield Alarm(text, reverse("admin:operations_dayend_change", args=[last.pk]), True)


# --- tables -----------------------------------------------------------------------------------------------------------


def _panels(request: HttpRequest) -> Iterator[Panel]:
    """What each role looks at first."""
    if request.user.has_perm("operations.approve_cashrequest"):
        yield Panel(
            _("Cash waiting for a decision"),
            CashRequest.objects.waiting().select_related("account", "currency", "maker").order_by("pk"),
            ("id", "requested_at", "kind", "account", "amount", "currency", "maker"),
            _("Nothing waits."),
            list_url(CashRequest),
        )
    if may_view(request, Entry):
        yield Panel(
            _("Latest changes"),
            Entry.objects.order_by("-pk"),
            ("at", "action", subject, "username", "reason"),
            _("Nothing has been changed yet."),
            list_url(Entry),
        )
    if may_view(request, Order):
        yield Panel(
            _("Latest orders"),
            Order.objects.select_related("account", "instrument").order_by("-pk"),
            ("id", "account", "instrument", "side", "type", "qty", "filled_qty", "status", "created_at"),
            _("No order has been placed yet."),
            list_url(Order),
        )
