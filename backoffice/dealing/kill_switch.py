"""Stopping trading of an account, a group, an instrument or a venue: the state at once, then the orders one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.choices import AccountState
from accounts.models import GROUP_STATES, Account, AccountGroup, User
from backoffice.audit import context
from backoffice.operations import account_life, jobs
from backoffice.operations.jobs import Cancelled, Outcome, Progress
from backoffice.operations.models import Job
from marketdata.choices import InstrumentState
from marketdata.models import Instrument
from trading import orders, positions
from trading.errors import OrderRejected
from trading.models import Order, Position
from trading.venues.models import FixSession, VenueRoute

KIND = "kill switch"
ROUTES_OFF = "off"

Choices = list[tuple[str, str | Promise]]


@dataclass(frozen=True)
class Scope:
    """A kind of what can be stopped. `lookup` finds its orders and positions; venues have no positions."""

    name: str | Promise
    model: type[models.Model]
    permission: str
    states: Choices
    set_state: Callable[[Any, str, str, User], None]  # row, state, reason, by
    orders: Callable[[Any], dict[str, Any]]
    positions: Callable[[Any], dict[str, Any]] | None


def _set_account(account: Account, state: str, reason: str, by: User) -> None:
    if not stays(account, state):
        account_life.set_state(account.pk, AccountState(state), reason=reason, by=by)


def stays(row: models.Model, state: str) -> bool:
    """Whether it is an account that is as strict already: giving it back its freedom is for operations."""
    strictness = list(AccountState).index
    return isinstance(row, Account) and strictness(AccountState(state)) <= strictness(AccountState(row.state))


def _set_row(row: models.Model, state: str, reason: str, by: User) -> None:
    row.state = state  # type: ignore[attr-defined]
    row.save(update_fields=["state"])


def _switch_routes_off(session: FixSession, state: str, reason: str, by: User) -> None:
    for route in VenueRoute.objects.filter(session=session, is_active=True):
        route.is_active = False
        route.save(update_fields=["is_active"])


SCOPES: dict[str, Scope] = {
    "account": Scope(
        gettext_lazy("account"),
        Account,
        "accounts.stop_accountgroup",
        [each for each in GROUP_STATES if each[0] != AccountState.ACTIVE],
        _set_account,
        lambda account: {"account": account},
        lambda account: {"account": account},
    ),
    "group": Scope(
        gettext_lazy("group"),
        AccountGroup,
        "accounts.stop_accountgroup",
        list(GROUP_STATES),
        _set_row,
        lambda group: {"account__group": group},
        lambda group: {"account__group": group},
    ),
    "instrument": Scope(
        gettext_lazy("instrument"),
        Instrument,
        "marketdata.state_instrument",
        list(InstrumentState.choices),
        _set_row,
        lambda instrument: {"instrument": instrument},
        lambda instrument: {"instrument": instrument},
    ),
    "venue": Scope(
        gettext_lazy("venue"),
        FixSession,
        "trading.operate_fixsession",
        [(ROUTES_OFF, gettext_lazy("Nothing new goes there"))],
        _switch_routes_off,
        lambda session: {"venue": session.venue},
        None,
    ),
}


def live_orders(scope: Scope, row: models.Model) -> models.QuerySet[Order]:
    """Those that may still open something. What closes or protects positions stays: it makes risk smaller."""
    return Order.objects.live().filter(closes=None, **scope.orders(row))


def open_positions(scope: Scope, row: models.Model) -> models.QuerySet[Position]:
    found = Position.objects.open()
    return found.filter(**scope.positions(row)) if scope.positions else found.none()


def stop(kind: str, row: models.Model, state: str, *, cancels: bool, closes: bool, reason: str, by: User) -> Job | None:
    """Set the state, which holds from the next order on; a job then cancels orders and closes positions, if asked to.

    A venue gets nothing new: its routes are out of force until somebody puts them in force again. Its session stays, so
    that what it says of our orders is booked.
    """
    scope = SCOPES[kind]
    with transaction.atomic(), context.acting(user=by, reason=reason):
        scope.set_state(row, state, reason, by)
        if not (cancels or closes):
            return None
        title = _("Stop %(kind)s %(name)s") % {"kind": scope.name, "name": row}
        return jobs.start(KIND, title, by=by, scope=kind, pk=row.pk, cancels=cancels, closes=closes, reason=reason)


@jobs.kind(KIND)
def work(job: Job, progress: Progress) -> Outcome:
    """Each order and position by itself, so that what is done stays done, whatever becomes of the rest."""
    given = job.arguments
    scope = SCOPES[given["scope"]]
    row = scope.model._default_manager.get(pk=given["pk"])
    to_cancel = list(live_orders(scope, row).values_list("account_id", "pk")) if given["cancels"] else []
    to_close = list(open_positions(scope, row).values_list("account_id", "pk")) if given["closes"] else []
    outcome = _Tally()
    try:
        progress.begin(len(to_cancel) + len(to_close))
        _each(sorted(to_cancel), lambda account, pk: orders.cancel(account, pk, by=job.by), outcome.cancelled, progress)
        _each(sorted(to_close), lambda account, pk: _close(job, account, pk), outcome.closed, progress)
    except Cancelled:
        return Outcome(_("It was stopped half way. %(tally)s") % {"tally": outcome})
    return Outcome(str(outcome))


class _Tally:
    """How many orders and positions were dealt with, and how many could not be."""

    def __init__(self) -> None:
        self.cancelled = [0, 0]
        self.closed = [0, 0]

    def __str__(self) -> str:
        return _(
            "Orders cancelled: %(cancelled)s, ended already: %(ended)s. Positions being closed: %(closed)s, not"
            " possible: %(refused)s."
        ) % {
            "cancelled": self.cancelled[0],
            "ended": self.cancelled[1],
            "closed": self.closed[0],
            "refused": self.closed[1],
        }


def _each(
    rows: Iterable[tuple[int, int]], act: Callable[[int, int], object], counts: list[int], progress: Progress
) -> None:
    for account_id, pk in rows:
        try:
            act(account_id, pk)
        except OrderRejected:
            counts[1] += 1
        else:
            counts[0] += 1
        progress.step()


def _close(job: Job, account_id: int, position_id: int) -> None:
    positions.close(account_id, position_id, request_id=f"job-{job.pk}:{position_id}", by=job.by, as_desk=True)
