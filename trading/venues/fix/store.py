"""What a FIX session must remember. Each number moves in the transaction that stores what it stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from trading import alarms
from trading.alarms import AlarmKind, Finding
from trading.venues import reports
from trading.venues.choices import Direction, LinkState, RequestState, VenueRequestKind
from trading.venues.fix import codec, messages
from trading.venues.fix.codec import Message
from trading.venues.models import FixMessage, FixSession, VenueOrder, VenueRequest

log = logging.getLogger(__name__)

LEASE_SECONDS = 6.0

Encode = Callable[[int, str, list[tuple[int, str]]], bytes]  # number, type, body


class LeaseLost(Exception):
    """Another process runs this session now: stop at once."""


class Store:
    """The memory of one session, for the process that holds its lease; to any other it refuses to write (LeaseLost)."""

    def __init__(self, session_id: int, holder: str) -> None:
        self._id, self._holder = session_id, holder

    @property
    def _mine(self) -> QuerySet[FixSession]:
        return FixSession.objects.filter(pk=self._id, leased_by=self._holder)

    # --- who runs it --------------------------------------------------------------------------------------------------

    def lease(self) -> FixSession | None:
        """Take the lease, or keep it; None while another process has it. The clock is the database's."""
        free = Q(leased_by__in=["", self._holder]) | Q(leased_until=None) | Q(leased_until__lt=Now())
        until = Now() + timedelta(seconds=LEASE_SECONDS)
        taken = FixSession.objects.filter(free, pk=self._id).update(leased_by=self._holder, leased_until=until)
        return FixSession.objects.get(pk=self._id) if taken else None

    def give_back(self) -> None:
        self._mine.update(leased_by="", leased_until=None)

    def note(self, state: LinkState, trouble: str | None = None) -> None:
        """Remember how the connection is; `trouble` replaces what was said last."""
        said = {} if trouble is None else {"trouble": trouble[:200]}
        self._mine.exclude(state=state).update(state=state, state_since=Now())
        if said:
            self._mine.update(**said)

    # --- what is sent -------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """The number of the next message sent, used up."""
        with transaction.atomic():
            self._check(self._mine.update(next_out=F("next_out") + 1))
            return self.newest()

    def newest(self) -> int:
        """The number of the last message sent."""
        return FixSession.objects.values_list("next_out", flat=True).get(pk=self._id) - 1

    def take_request(self, encode: Encode) -> bytes | None:
        """The next request as bytes, from now on held to be sent; None when nothing waits.

        A crash after this leaves it to the counterparty, which misses the number and asks for it, and to our question
        about its order.
        """
        with transaction.atomic():
            request = (
                VenueRequest.objects.sendable()
                .filter(session_id=self._id)
                .select_related("order__instrument", "order__account", "order__at_venue")
                .select_for_update(skip_locked=True, of=("self",))
                .order_by("pk")
                .first()
            )
            if request is None:
                return None
            if request.kind != VenueRequestKind.NEW:
                request.orig_cl_ord_id = request.order.at_venue.cl_ord_id
            seq, type_ = self.number(), messages.TYPES[VenueRequestKind(request.kind)]
            raw = encode(seq, type_, messages.request_fields(request))
            request.message = self._keep(Direction.OUT, seq, type_, raw.decode())
            request.state, request.sent_at = RequestState.SENT, timezone.now()
            request.save(update_fields=["orig_cl_ord_id", "message", "state", "sent_at"])
            return raw

    def take_questions(self) -> list[list[tuple[int, str]]]:
        """The bodies of the status requests that are due: for what is on its way, else for the order as it stands."""
        wanted = VenueOrder.objects.filter(session_id=self._id, ask_wanted=True, is_open=True)
        questions = []
        for standing in wanted.select_related("order__instrument").order_by("pk")[:100]:
            order = standing.order
            sent = list(order.requests.filter(state=RequestState.SENT).values_list("cl_ord_id", flat=True))
            for cl_ord_id in sent or [standing.cl_ord_id]:
                questions.append(messages.status_fields(cl_ord_id, order.instrument.symbol, order.side))
            VenueOrder.objects.filter(pk=standing.pk).update(ask_wanted=False)
        return questions

    def ask_in_flight(self, *, older_than: timedelta = timedelta(0)) -> int:
        """Want the status of every order with an unanswered request; says how many."""
        sent = VenueRequest.objects.filter(
            session_id=self._id, state=RequestState.SENT, sent_at__lte=timezone.now() - older_than
        )
        return VenueOrder.objects.filter(order__in=sent.values("order"), is_open=True).update(ask_wanted=True)

    def sent(self, first: int, last: int) -> QuerySet[FixMessage]:
        """The kept messages with these numbers, to be sent again."""
        kept = FixMessage.objects.filter(session_id=self._id, direction=Direction.OUT, epoch=F("session__epoch"))
        return kept.filter(seq__range=(first, last)).order_by("seq")

    # --- what is received ---------------------------------------------------------------------------------------------

    def receive(self, seq: int, message: Message) -> None:
        """Book what the message reports, keep it, and expect the next number: all of it or nothing.

        A report that cannot be booked is kept with its error and raises an alarm: it must not stop those behind it.
        """
        with transaction.atomic():
            session = FixSession.objects.get(pk=self._id)
            error = _book(session, session.epoch, message)
            if error or message.text(150) != "I":  # answers to questions of every minute are not worth keeping
                self._keep(Direction.IN, seq, message.type, _raw(message), error)
            self.expect(seq, seq + 1)
            if error:
                alarms.sound([unbooked(session, session.epoch, seq, error)])

    def expect(self, seq: int, following: int) -> None:
        """The message with this number is taken; `following` is the number expected next."""
        self._check(self._mine.filter(next_in=seq).update(next_in=following))

    def begin_anew(self) -> None:
        """Both numbers begin at 1. What the counterparty knows of our orders is asked, since nothing can be resent."""
        with transaction.atomic():
            self._check(self._mine.update(epoch=F("epoch") + 1, next_out=1, next_in=1, reset_wanted=False))
            VenueOrder.objects.filter(session_id=self._id, is_open=True).update(ask_wanted=True)

    def _keep(self, direction: Direction, seq: int, type_: str, raw: str, error: str = "") -> FixMessage:
        session = FixSession.objects.only("epoch").get(pk=self._id)
        return FixMessage.objects.create(
            session_id=self._id,
            epoch=session.epoch,
            direction=direction,
            seq=seq,
            type=type_,
            raw=raw,
            error=error,
        )

    def _check(self, rows: int) -> None:
        if not rows:
            raise LeaseLost


def book_again(message: FixMessage) -> None:
    """Try once more to book a received report that could not be."""
    error = _book(message.session, message.epoch, codec.read(message.raw))
    if error != message.error:
        FixMessage.objects.filter(pk=message.pk).update(error=error)


def unbooked(session: FixSession, epoch: int, seq: int, error: str) -> Finding:
    return Finding(AlarmKind.REPORT_UNBOOKED, f"{session} {epoch}/{seq}", details={"error": error})


def _book(session: FixSession, epoch: int, message: Message) -> str:
    """Book what a message reports; returns why it could not be booked, or an empty text."""
    try:
        if (report := _report_of(session, epoch, message)) is not None:
            reports.take(session, report)
    except (reports.Unbookable, messages.Malformed) as error:
        return str(error)[:200]
    except OperationalError:
        raise  # the database is away: the message stays unread, and comes again
    except Exception:
        log.exception("FIX message %s could not be booked", message)
        return "a fault of ours; the log has it"
    return ""


def _report_of(session: FixSession, epoch: int, message: Message) -> reports.Report | None:
    """What a message reports of one of our orders; rejects name what they reject by its number only."""
    if message.type in (messages.EXECUTION_REPORT, messages.CANCEL_REJECT):
        return messages.report_of(message)
    if message.type not in (messages.REJECT, messages.BUSINESS_REJECT):
        return None
    rejected = VenueRequest.objects.filter(
        session=session,
        message__epoch=epoch,
        message__seq=message.number(45),
        message__direction=Direction.OUT,
    ).first()
    if rejected is None:
        return None
    kind = reports.ReportKind.REJECTED if rejected.kind == VenueRequestKind.NEW else reports.ReportKind.REFUSED
    return reports.Report(kind, rejected.cl_ord_id, text=message.text(58))


def _raw(message: Message) -> str:
    return "".join(f"{tag}={value}\x01" for tag, value in message.fields)
