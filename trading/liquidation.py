"""Margin calls and stop-outs: one decision at a time, each in one transaction, each stored with its inputs.

The next step always follows from what the books say now (`levels.verdict`), never from what a process remembers; so it
does not matter where a process dies, and the same cause never acts twice: a decision changes what the next one sees.
"""

from __future__ import annotations

import logging
from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from accounts import ledger
from accounts.choices import LedgerKind, TransferKind
from accounts.models import Account
from trading import exposure, levels, orders
from trading import standing as standings
from trading.choices import DecisionKind
from trading.errors import OrderRejected
from trading.exposure import Market
from trading.levels import Inputs, Verdict
from trading.models import MarginDecision, Order, Position
from trading.prices import Prices

log = logging.getLogger(__name__)


def review(account_id: int) -> MarginDecision | None:
    """Take the account's next step, if there is one, and return the decision.

    The account is looked at without its lock first, so that one that needs nothing is not touched. A market that is not
    fit to decide on (a bad or stale price) decides nothing.
    """
    account = Account.objects.select_related("group", "currency").get(pk=account_id)
    try:
        if levels.verdict(_inputs(account)).kind is None:
            return None
        return _decide(account_id)
    except OrderRejected as refusal:
        log.info("account %s: its margin cannot be judged now: %s", account_id, refusal.reason)
        return None


def recompute(decision: MarginDecision) -> tuple[levels.Figures, Verdict]:
    """Make the decision again from its stored inputs alone."""
    inputs = levels.load(decision.inputs)
    return levels.figures(inputs), levels.verdict(inputs)


@transaction.atomic
def _decide(account_id: int) -> MarginDecision | None:
    """Decide again under the lock, on fresh prices, and act."""
    account = Account.objects.changing(account_id)
    inputs = _inputs(account)
    verdict = levels.verdict(inputs)
    if verdict.kind is None:
        transaction.set_rollback(True)  # the version did not have to rise
        return None
    order = _act(account, inputs, verdict)
    found = levels.figures(inputs)
    decision = MarginDecision.objects.create(
        account=account,
        version=account.version,
        kind=verdict.kind,
        level=found.level,
        equity=found.equity,
        margin=found.margin,
        position_id=verdict.position,
        order=order,
        inputs=levels.dump(inputs),
    )
    if verdict.kind is DecisionKind.PROTECTED:
        _make_good(account, inputs, decision)
    log.warning("account %s: %s at a level of %s %%", account, verdict.kind, found.level)
    return decision


def _inputs(account: Account) -> Inputs:
    now = timezone.now()
    conditions = account.conditions_at(now)
    return exposure.of(account, conditions, Market(Prices(), now, conditions.max_quote_age_seconds))


def _act(account: Account, inputs: Inputs, verdict: Verdict) -> Order | None:
    if verdict.kind in (DecisionKind.CANCEL_ORDERS, DecisionKind.CLOSE):
        _cancel_orders(account)
    if verdict.kind is DecisionKind.CLOSE:
        [holding] = [each for each in inputs.holdings if each.position == verdict.position]
        position = Position.objects.locked().select_related("instrument").get(pk=holding.position)
        # Nobody can guess this name, so no client's own request can stand in its way.
        name = f"stop-out:{uuid4()}"
        return orders.place_closing(
            position,
            holding.qty,
            account=account,
            standing=standings.of(account, name),
            request_id=name,
            by=None,
            whole=True,
        )
    return None


def _cancel_orders(account: Account) -> None:
    """Cancel what would open positions. One that the end of another has ended already is passed over."""
    for order_id in account.orders.live().filter(closes=None).order_by("pk").values_list("pk", flat=True):
        try:
            orders.cancel(account.pk, order_id)
        except OrderRejected as refusal:
            log.info("order %s: %s", order_id, refusal.reason)


def _make_good(account: Account, inputs: Inputs, decision: MarginDecision) -> None:
    """The house takes over what the account owes after a gap."""
    ledger.credit(
        TransferKind.NEGATIVE_BALANCE,
        f"negative-balance:{decision.pk}",
        account,
        {account.currency_id: -inputs.balance},
        LedgerKind.HOUSE_PROTECTION,
    )
