"""What FIX messages say: requests of ours as fields, reports of the counterparty as `Report`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from backoffice.fields import plain
from trading.choices import OrderType, Side
from trading.venue import Fill
from trading.venues.choices import VenueRequestKind
from trading.venues.fix.codec import Message, stamp
from trading.venues.models import VenueRequest
from trading.venues.reports import Report, ReportKind

HEARTBEAT, TEST_REQUEST, RESEND_REQUEST, REJECT, SEQUENCE_RESET, LOGOUT, LOGON = "0", "1", "2", "3", "4", "5", "A"
EXECUTION_REPORT, CANCEL_REJECT, BUSINESS_REJECT = "8", "9", "j"
NEW_ORDER, CANCEL_REQUEST, REPLACE_REQUEST, STATUS_REQUEST = "D", "F", "G", "H"

TYPES = {
    VenueRequestKind.NEW: NEW_ORDER,
    VenueRequestKind.CANCEL: CANCEL_REQUEST,
    VenueRequestKind.REPLACE: REPLACE_REQUEST,
}
SIDES = {Side.BUY: "1", Side.SELL: "2"}
ORDER_TYPES = {"market": "1", "limit": "2", "stop": "3", "stoplimit": "4"}
ENDED = ("3", "4", "C")  # OrdStatus: done for the day, cancelled, expired

# ExecType: what it reports. Pending and informational ones (6, A, B, D, E) report nothing that happened.
KINDS = {
    "0": ReportKind.ACKNOWLEDGED,
    "3": ReportKind.CANCELLED,
    "4": ReportKind.CANCELLED,
    "5": ReportKind.REPLACED,
    "8": ReportKind.REJECTED,
    "C": ReportKind.CANCELLED,
    "F": ReportKind.EXECUTED,
}
UNDOING = ("G", "H")  # trade corrected, trade cancelled


class Malformed(Exception):
    """A report that cannot be understood: nothing of it is booked, and staff has to look."""


def request_fields(request: VenueRequest) -> list[tuple[int, str]]:
    """The body of NewOrderSingle, OrderCancelRequest or OrderCancelReplaceRequest."""
    order = request.order
    fields = [(11, request.cl_ord_id)]
    if request.kind != VenueRequestKind.NEW:
        fields.append((41, request.orig_cl_ord_id))
    fields += [(1, order.account.number), (55, order.instrument.symbol), (54, SIDES[Side(request.side)])]
    fields += [(60, stamp()), (38, _text(request.qty))]
    if request.kind != VenueRequestKind.CANCEL:
        fields += [(40, ORDER_TYPES[OrderType(request.type)]), (59, request.time_in_force), (21, "1")]
        fields += [(44, _text(request.limit_price))] if request.limit_price is not None else []
        fields += [(99, _text(request.stop_price))] if request.stop_price is not None else []
    return fields


def status_fields(cl_ord_id: str, symbol: str, side: str) -> list[tuple[int, str]]:
    """The body of OrderStatusRequest. Its OrdStatusReqID is the ClOrdID, so that the answer says what was asked."""
    return [(11, cl_ord_id), (790, cl_ord_id), (55, symbol), (54, SIDES[Side(side)])]


def report_of(message: Message) -> Report | None:
    """What an ExecutionReport or OrderCancelReject reports; None when nothing happened. Raises Malformed."""
    if message.type == CANCEL_REJECT:
        return Report(
            ReportKind.REFUSED,
            message.text(11),
            message.text(41),
            venue_order_id=message.text(37),
            text=message.text(58),
        )
    exec_type = message.text(150)
    if exec_type in UNDOING:
        raise Malformed("the venue takes back or corrects an execution")
    kind = _status_kind(message) if exec_type == "I" else KINDS.get(exec_type)
    if kind is None:
        return None
    return Report(
        kind,
        (message.text(790) if exec_type == "I" else "") or message.text(11),
        message.text(41),
        venue_order_id=message.text(37),
        fill=_fill(message) if kind is ReportKind.EXECUTED else None,
        cum_qty=_decimal(message, 14) if message.text(14) else None,
        avg_price=_decimal(message, 6) if exec_type == "I" and message.text(6) else None,
        text=message.text(58),
    )


def _status_kind(message: Message) -> ReportKind:
    """What the answer to OrderStatusRequest says, by OrdStatus (39)."""
    status = message.text(39)
    if status == "8":
        return ReportKind.UNKNOWN if message.text(103) in ("5", "") else ReportKind.REJECTED
    return ReportKind.CANCELLED if status in ENDED else ReportKind.STATUS


def _fill(message: Message) -> Fill:
    """ExecID is unique for a day only, so the day goes with it."""
    exec_id, qty, price = message.text(17), _decimal(message, 32), _decimal(message, 31)
    if not exec_id or qty <= 0 or price <= 0:
        raise Malformed("an execution without id, quantity or price")
    return Fill(plain(qty), plain(price), f"{message.text(60)[:8]}-{exec_id}"[:64])


def _decimal(message: Message, tag: int) -> Decimal:
    try:
        number = Decimal(message.text(tag))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise Malformed(f"no number in the tag {tag}")
    return number


def _text(number: Decimal) -> str:
    return f"{plain(number):f}"
