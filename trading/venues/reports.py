"""What venues report, booked: each report once, in whatever order and however often it comes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.models import Account
from trading import brackets, dispatch, endings, executions, relatives
from trading.choices import EventKind
from trading.errors import OrderRejected, Reason
from trading.models import Execution, Order
from trading.prices import Prices
from trading.states import OrderStatus
from trading.venue import Fill
from trading.venues import outbox
from trading.venues.choices import PENDING, RequestState, VenueRequestKind
from trading.venues.models import FixSession, VenueOrder, VenueRequest

CAUGHT_UP = "status-"  # begins our own name of a fill that only the answer to a question has told of
FINEST = Decimal("1E-12")


class ReportKind(Enum):
    ACKNOWLEDGED = auto()
    EXECUTED = auto()
    REJECTED = auto()
    CANCELLED = auto()  # asked for or not; expiry too
    REPLACED = auto()
    REFUSED = auto()  # a cancel or replace was: the order stays as it was
    STATUS = auto()  # it stands as acknowledged: the answer to our question
    UNKNOWN = auto()  # the venue does not know it: the answer to our question about what never arrived


@dataclass(frozen=True, slots=True)
class Report:
    """What a venue says of an order. `cum_qty` is how much it has filled of it, `fill` what it filled just now.

    Only answers to our questions have an `avg_price`: that of all it has filled.
    """

    kind: ReportKind
    cl_ord_id: str
    orig_cl_ord_id: str = ""
    venue_order_id: str = ""
    fill: Fill | None = None
    cum_qty: Decimal | None = None
    avg_price: Decimal | None = None
    text: str = ""


class Unbookable(Exception):
    """The report contradicts our books: nothing of it is booked, and staff has to look."""


def take(session: FixSession, report: Report) -> None:
    """Book the report, in the transaction of the caller or one of its own. A report that comes again changes nothing.

    Raises Unbookable, and books nothing.
    """
    with transaction.atomic():
        _Taking(session, report).take()


def tell(booking: executions.Booking, order: Order, *, has_changed: bool) -> None:
    """Bring the brackets in line with an order that changed, and let everybody know once it is committed."""
    changed = [order, *(brackets.settle(booking, order) if has_changed else ())]
    dispatch.after_commit(
        account_id=booking.account.pk,
        order_ids=[each.pk for each in changed],
        drain=any(each.queued for each in changed),
    )


class _Taking:
    """One report being booked, with what is locked for it: the account, the order, its requests."""

    def __init__(self, session: FixSession, report: Report) -> None:
        self.report = report
        self.now = timezone.now()
        known = VenueRequest.objects.filter(session=session).select_related("order")
        # After a cancel or a replace the venue may use either name of the order, the old or the new.
        found = (
            known.filter(cl_ord_id=report.cl_ord_id).first() or known.filter(cl_ord_id=report.orig_cl_ord_id).first()
        )
        if found is None:
            raise Unbookable(f"no order of ours has the ClOrdID {report.cl_ord_id or report.orig_cl_ord_id}")
        self.account = Account.objects.changing(found.order.account_id)
        related = relatives.lock(self.account, [found.order_id])
        self.order = next(order for order in related if order.pk == found.order_id)
        conditions = self.account.conditions_at(self.now)
        self.booking = executions.Booking(self.account, conditions, Prices(), self.now, is_done=True)
        requests = self.order.requests.select_for_update(of=("self",)).order_by("pk")
        self.requests = {request.cl_ord_id: request for request in requests}
        self.request = self.requests[found.cl_ord_id]
        self.standing = VenueOrder.objects.select_for_update().get(order=self.order)

    def take(self) -> None:
        handlers = {
            ReportKind.ACKNOWLEDGED: self._acknowledged,
            ReportKind.EXECUTED: self._executed,
            ReportKind.REJECTED: self._rejected,
            ReportKind.CANCELLED: self._cancelled,
            ReportKind.REPLACED: self._replaced,
            ReportKind.REFUSED: self._refused,
            ReportKind.STATUS: self._status,
            ReportKind.UNKNOWN: self._unknown,
        }
        before = (self.order.status, self.order.filled_qty, self.order.revision)
        handlers[self.report.kind]()
        self._note_standing()
        has_changed = (self.order.status, self.order.filled_qty, self.order.revision) != before
        if has_changed:
            self.order.updated_at = self.now
        if self.order.is_final:
            self._close_requests()
        self.order.save()
        tell(self.booking, self.order, has_changed=has_changed)

    def _note_standing(self) -> None:
        standing, report = self.standing, self.report
        standing.told_at = self.now
        standing.venue_order_id = report.venue_order_id or standing.venue_order_id
        if report.cum_qty is not None:
            standing.cum_qty = max(standing.cum_qty, report.cum_qty)
        if self.order.is_final:
            standing.is_open = False
        standing.save()

    def _close_requests(self) -> None:
        """What was still asked of an order that has ended is no question any more."""
        for request in self.requests.values():
            if request.state in PENDING:
                is_sent = request.state == RequestState.SENT
                self._answer(request, RequestState.REFUSED if is_sent else RequestState.WITHDRAWN)

    def _answer(self, request: VenueRequest, state: RequestState, text: str = "") -> None:
        request.state, request.text, request.answered_at = state, text[:200], self.now
        request.save(update_fields=["state", "text", "answered_at"])

    def _accept(self, request: VenueRequest) -> None:
        if request.state == RequestState.SENT:
            self._answer(request, RequestState.ACCEPTED, self.report.text)

    @property
    def _new(self) -> VenueRequest:
        return next(request for request in self.requests.values() if request.kind == VenueRequestKind.NEW)

    # --- one handler for each kind ------------------------------------------------------------------------------------

    def _acknowledged(self) -> None:
        self._accept(self._new)
        if self.order.status == OrderStatus.PLACING:
            self.order.advance(OrderStatus.WORKING, at=self.now)
            self.order.record(EventKind.ACKNOWLEDGED, venue_order=self.report.venue_order_id)

    def _executed(self) -> None:
        fill = self.report.fill
        assert fill is not None
        if Execution.objects.filter(venue=self.order.venue, venue_exec_id=fill.exec_id).exists():
            return
        known = self._caught_up(fill)
        if known == fill.qty:
            return
        if known:
            raise Unbookable(f"{fill.qty} was executed, of which an answer of before told {known}")
        if self.order.is_final:
            raise Unbookable(f"{fill.qty} was executed, but the order is {self.order.status}")
        if fill.qty > self.order.leaves_qty:
            raise Unbookable(f"{fill.qty} was executed, but only {self.order.leaves_qty} is left of the order")
        self._book(fill)
        if not self.standing.is_open and not self.order.is_final and self.order.filled_qty >= self.standing.cum_qty:
            self._end_rest()

    def _book(self, fill: Fill) -> None:
        self._acknowledged()  # who executes has accepted
        try:
            executions.record(self.booking, self.order, fill)
        except OrderRejected as refusal:
            raise Unbookable(str(refusal)) from refusal

    def _catch_up(self) -> None:
        """Book as one fill what the venue says it has filled and no report has told of, at the price that is left.

        Reports come in the order of their numbers: one that is not here before the answer to our question was lost with
        the numbers of an earlier session.
        """
        cum_qty, avg_price, order = self.report.cum_qty, self.report.avg_price, self.order
        if not cum_qty or not avg_price or avg_price < 0 or cum_qty <= order.filled_qty:
            return
        missing = cum_qty - order.filled_qty
        if missing > order.leaves_qty:
            raise Unbookable(f"{cum_qty} is executed, but the order is for {order.qty}")
        value = cum_qty * avg_price - order.filled_qty * (order.avg_price or Decimal(0))
        if value <= 0:
            raise Unbookable(f"{cum_qty} cannot be executed at {avg_price}: {order.filled_qty} is at {order.avg_price}")
        self._book(Fill(missing, (value / missing).quantize(FINEST), f"{CAUGHT_UP}{order.pk}-{cum_qty:f}"))

    def _caught_up(self, fill: Fill) -> Decimal:
        """How much of this fill is in the books by an answer to our question that came before it."""
        if self.report.cum_qty is None:
            return Decimal(0)
        told = self.order.executions.filter(venue_exec_id__startswith=CAUGHT_UP).values_list("venue_exec_id", flat=True)
        up_to = max((Decimal(exec_id.rpartition("-")[2]) for exec_id in told), default=Decimal(0))
        return min(fill.qty, max(Decimal(0), up_to - (self.report.cum_qty - fill.qty)))

    def _rejected(self) -> None:
        if self.order.is_final:
            return
        if self.order.filled_qty:
            raise Unbookable(f"the order was rejected, but {self.order.filled_qty} of it is filled")
        self._end(OrderStatus.REJECTED, EventKind.REJECTED, Reason.VENUE_REJECTED)
        if self._new.state == RequestState.SENT:
            self._answer(self._new, RequestState.REFUSED, self.report.text)

    def _cancelled(self) -> None:
        """End the rest; what was filled before is booked first, even when that report is still to come."""
        if self.order.is_final:
            return
        self._accept(self._new)
        self._accept(self.request)
        self._catch_up()
        if self.order.is_final:
            return
        if self.report.cum_qty is not None and self.report.cum_qty > self.order.filled_qty:
            self.standing.is_open = False
            return
        self._end_rest()

    def _end_rest(self) -> None:
        asked = next((each for each in self.requests.values() if each.kind == VenueRequestKind.CANCEL), None)
        if asked is not None and asked.state in (RequestState.SENT, RequestState.ACCEPTED):
            self._accept(asked)
            endings.end(self.account, self.order, OrderStatus.CANCELLED, at=self.now)
            self.order.record(EventKind.CANCELLED, by=asked.by, text=self.report.text or None)
        else:
            self._end(OrderStatus.CANCELLED, EventKind.CANCELLED, Reason.VENUE_CANCELLED)

    def _end(self, status: OrderStatus, event: EventKind, reason: Reason) -> None:
        because = OrderRejected(reason, text=self.report.text)
        endings.end(self.account, self.order, status, at=self.now, because=because)
        self.order.record(event, reason=reason, text=self.report.text or None)

    def _replaced(self) -> None:
        request = self.request
        if request.kind != VenueRequestKind.REPLACE or request.state != RequestState.SENT or self.order.is_final:
            return
        order = self.order
        self._acknowledged()
        before: dict[str, Any] = {
            "old_qty": order.qty,
            "old_limit_price": order.limit_price,
            "old_stop_price": order.stop_price,
        }
        order.qty = max(request.qty, order.filled_qty)
        order.limit_price, order.stop_price = request.limit_price, request.stop_price
        order.revision += 1
        outbox.hold_again(self.account, order, request.held_after, of=request.qty - request.filled_before)
        if not order.leaves_qty:
            order.advance(OrderStatus.FILLED, at=self.now)
        order.record(EventKind.MODIFIED, by=request.by, **before)
        self.standing.cl_ord_id = request.cl_ord_id
        self._accept(request)

    def _refused(self) -> None:
        request, order = self.request, self.order
        if request.state != RequestState.SENT or order.is_final:
            return
        if request.kind == VenueRequestKind.REPLACE:
            outbox.hold_again(self.account, order, request.held_before, of=order.qty - request.filled_before)
        self._answer(request, RequestState.REFUSED, self.report.text)
        order.record(EventKind.REFUSED, by=request.by, request=request.kind, text=self.report.text or None)
        self.standing.ask_wanted = True  # it may have refused because the order has ended

    def _status(self) -> None:
        """The order is at work there. A replace that the venue knows by its own name is in force."""
        if self.order.is_final:
            return
        self._acknowledged()
        if self.request.kind == VenueRequestKind.REPLACE:
            self._replaced()
        if not self.order.is_final:
            self._catch_up()

    def _unknown(self) -> None:
        """What was asked never arrived, and will not: it was too old to be sent again."""
        if self.request.state != RequestState.SENT or self.order.is_final:
            return
        if self.request.kind != VenueRequestKind.NEW:
            self._refused()
            return
        if self.order.filled_qty or self.order.status != OrderStatus.PLACING:
            raise Unbookable("the venue does not know an order that it has accepted")
        self._answer(self.request, RequestState.REFUSED, self.report.text)
        self._end(OrderStatus.REJECTED, EventKind.REJECTED, Reason.VENUE_UNKNOWN)
