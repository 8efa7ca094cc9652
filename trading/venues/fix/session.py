"""The rules of a FIX 4.4 session, of the side that begins it: logon, numbers, heartbeats, gaps and what fills them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from trading.venues.choices import LinkState
from trading.venues.fix import codec
from trading.venues.fix.codec import Message, stamp
from trading.venues.fix.messages import (
    BUSINESS_REJECT,
    CANCEL_REJECT,
    EXECUTION_REPORT,
    HEARTBEAT,
    LOGON,
    LOGOUT,
    NEW_ORDER,
    REJECT,
    REPLACE_REQUEST,
    RESEND_REQUEST,
    SEQUENCE_RESET,
    STATUS_REQUEST,
    TEST_REQUEST,
)
from trading.venues.fix.store import Store
from trading.venues.models import FixSession

log = logging.getLogger(__name__)

LOGON_SECONDS = 10.0
ASK_AGAIN_SECONDS = 5.0
GRACE = 1.2  # of the heartbeat's seconds, for the way
# What adds risk is not sent again when it is older: a price has moved on since. The order's status is asked instead.
FRESH = timedelta(seconds=30)
KEPT = (EXECUTION_REPORT, CANCEL_REJECT, BUSINESS_REJECT, REJECT)  # received, and kept with what they did

Body = list[tuple[int, str]]


class Disconnect(Exception):
    """The connection is of no use any more; the message says why, for staff."""


class Session:
    """One connection's time. `send` writes bytes to it; the clock is monotonic seconds."""

    def __init__(self, row: FixSession, store: Store, send: Callable[[bytes], None]) -> None:
        self._row, self._store, self._send = row, store, send
        self._next_in = row.next_in
        self._asked = (0, 0.0)  # where the gap begins that was asked for, and when
        self._begins_anew = False
        self.is_logged_on = False
        self._is_leaving = False
        self._began = self._heard = self._sent = time.monotonic()
        self._tested: float | None = None

    # --- what we do ---------------------------------------------------------------------------------------------------

    def log_on(self) -> None:
        """Ask to be let in, with the numbers where they are, or from 1 when that is wanted."""
        self._begins_anew = self._row.reset_wanted or self._row.resets_at_logon
        if self._begins_anew:
            self._store.begin_anew()
            self._next_in = 1
        body = [(98, "0"), (108, str(self._row.heartbeat_seconds))]
        body += [(141, "Y")] if self._begins_anew else []
        if self._row.username:
            password = settings.FIX_PASSWORDS.get(self._row.name, "")
            body += [(553, self._row.username), *([(554, password)] if password else [])]
        self._say(LOGON, body)

    def log_out(self, text: str = "") -> None:
        self._is_leaving = True
        self._say(LOGOUT, [(58, text)] if text else [])

    def work(self) -> None:
        """Send what waits: requests first, then questions. Then look at the clock."""
        if self.is_logged_on:
            while (raw := self._store.take_request(self._encode)) is not None:
                self._write(raw)
            for question in self._store.take_questions():
                self._say(STATUS_REQUEST, question)
        self._watch_clock(time.monotonic())

    def _watch_clock(self, now: float) -> None:
        """Heartbeats, a test when the counterparty is silent, and the end when that is not answered."""
        if not self.is_logged_on:
            if now - self._began > LOGON_SECONDS:
                raise Disconnect("The logon was not answered.")
            return
        beat = float(self._row.heartbeat_seconds)
        if self._tested is not None and now - self._tested > beat * GRACE:
            raise Disconnect("The counterparty does not answer.")
        if self._tested is None and now - self._heard > beat * GRACE:
            self._tested = now
            self._say(TEST_REQUEST, [(112, stamp())])
        if now - self._sent >= beat:
            self._say(HEARTBEAT)

    # --- what comes ---------------------------------------------------------------------------------------------------

    def take(self, message: Message) -> None:
        """One message of the counterparty. Raises Disconnect when it ends the session."""
        self._heard, self._tested = time.monotonic(), None
        if (message.text(49), message.text(56)) != (self._row.target_comp_id, self._row.sender_comp_id):
            raise self._fault("The names (CompIDs) of a message are not those of this session.")
        if not self.is_logged_on and message.type not in (LOGON, LOGOUT):
            raise Disconnect("The first message was no logon.")
        seq = message.number(34)
        if message.type == SEQUENCE_RESET and not message.flag(123):
            self._skip_to(message.number(36))
        elif message.type == LOGOUT:
            self._take_logout(seq, message)
        elif seq < self._next_in:
            if not message.flag(43):  # what may come twice was taken the first time
                raise self._fault(f"MsgSeqNum too low, expecting {self._next_in} but received {seq}")
        elif seq > self._next_in:
            self._take_early(seq, message)
        else:
            self._take_expected(seq, message)

    def _take_expected(self, seq: int, message: Message) -> None:
        if message.type in KEPT:
            self._store.receive(seq, message)
            self._next_in = seq + 1
            return
        if message.type == SEQUENCE_RESET:  # a gap filled: all before that number is of no interest
            self._skip_to(message.number(36))
            return
        self._store.expect(seq, seq + 1)
        self._next_in = seq + 1
        if message.type == LOGON:
            self._welcome(message)
        elif message.type == TEST_REQUEST:
            self._say(HEARTBEAT, [(112, message.text(112))])
        elif message.type == RESEND_REQUEST:
            self._resend(message.number(7), message.number(16))
        elif message.type != HEARTBEAT:
            body = [(45, str(seq)), (372, message.type), (380, "3"), (58, "Unsupported message type")]
            self._say(BUSINESS_REJECT, body)

    def _take_early(self, seq: int, message: Message) -> None:
        """Messages are missing before this one: they are asked for, and this one comes again with them.

        Two are answered all the same: a logon, or there would be no session to ask in, and a resend request, or both
        sides might wait for each other for ever.
        """
        if message.type == LOGON:
            self._welcome(message)
        elif message.type == RESEND_REQUEST:
            self._resend(message.number(7), message.number(16))
        begins, asked_at = self._asked
        if begins != self._next_in or time.monotonic() - asked_at > ASK_AGAIN_SECONDS:
            self._asked = (self._next_in, time.monotonic())
            log.info("FIX %s: asks for %s and later, having received %s", self._row, self._next_in, seq)
            self._say(RESEND_REQUEST, [(7, str(self._next_in)), (16, "0")])

    def _take_logout(self, seq: int, message: Message) -> None:
        if seq == self._next_in:
            self._store.expect(seq, seq + 1)
        if not self._is_leaving:
            self.log_out()
        raise Disconnect(f"The counterparty ended the session. {message.text(58)}".strip())

    def _welcome(self, message: Message) -> None:
        if self.is_logged_on:
            raise self._fault("A second logon within a session.")
        if message.flag(141) and not self._begins_anew:
            raise self._fault("The counterparty begins its numbers anew: reset the session to agree.")
        self.is_logged_on = True
        self._store.note(LinkState.LOGGED_ON, "")
        self._store.ask_in_flight()
        log.info("FIX %s: logged on", self._row)

    def _skip_to(self, following: int) -> None:
        if following <= self._next_in:
            raise self._fault(f"A sequence reset goes back, to {following}.")
        self._store.expect(self._next_in, following)
        self._next_in = following

    def _resend(self, first: int, last: int) -> None:
        """Send again what was asked for; numbers without anything worth sending again are filled in one go."""
        newest = self._store.newest()
        last = min(last, newest) if last else newest
        missing = max(first, 1)
        for kept in self._store.sent(missing, last):
            if kept.type in (NEW_ORDER, REPLACE_REQUEST) and kept.at < timezone.now() - FRESH:
                continue
            self._fill_gap(missing, kept.seq)
            original = codec.read(kept.raw)
            body = [(tag, value) for tag, value in original.fields if tag not in codec.HEADER]
            again = [(43, "Y"), (122, original.text(52))]
            self._write(self._encode(kept.seq, kept.type, body, again))
            missing = kept.seq + 1
        self._fill_gap(missing, last + 1)
        self._store.ask_in_flight()

    def _fill_gap(self, first: int, following: int) -> None:
        if first < following:
            body = [(123, "Y"), (36, str(following))]
            self._write(self._encode(first, SEQUENCE_RESET, body, [(43, "Y"), (122, stamp())]))

    # --- to the wire --------------------------------------------------------------------------------------------------

    def _fault(self, text: str) -> Disconnect:
        """Tell the counterparty why the session ends, and whoever runs it."""
        self.log_out(text)
        return Disconnect(text)

    def _say(self, type_: str, body: Body | None = None) -> None:
        self._write(self._encode(self._store.number(), type_, body or []))

    def _encode(self, seq: int, type_: str, body: Body, header: Body | None = None) -> bytes:
        row = self._row
        return codec.encode(type_, seq, row.sender_comp_id, row.target_comp_id, body, header or [])

    def _write(self, raw: bytes) -> None:
        self._send(raw)
        self._sent = time.monotonic()
