"""Cash under four eyes: asked for by one person, decided by another, booked once through the ledger.

Money that leaves an account is moved to the house's "money on its way" when it is asked for: from then on it is not
free, whatever the account trades. The decision pays it out from there, or gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import ledger
from accounts.choices import AccountState, LedgerKind, TransferKind
from accounts.models import Account, Balance, Currency, Transfer, User
from accounts.roles import MAY, Role
from backoffice.fields import plain
from backoffice.operations.choices import CashKind, RequestState
from backoffice.operations.models import Attachment, CashLimit, CashRequest
from trading import valuation

# Against which account of the house money comes in or goes out, and as what it is booked.
BOOKED = {
    CashKind.DEPOSIT: (TransferKind.DEPOSIT, LedgerKind.HOUSE_CASH),
    CashKind.WITHDRAWAL: (TransferKind.WITHDRAWAL, LedgerKind.HOUSE_CASH),
    CashKind.CREDIT: (TransferKind.CREDIT, LedgerKind.HOUSE_ADJUSTMENT),
    CashKind.ADJUSTMENT: (TransferKind.ADJUSTMENT, LedgerKind.HOUSE_ADJUSTMENT),
}


class CashRefused(Exception):
    """The request or decision is refused, and nothing was stored. The text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for; `amount` in `currency`. `key` is the form's own: sent twice, it is asked for once."""

    kind: CashKind
    account_id: int
    currency: str
    amount: Decimal
    reason: str
    key: str
    to_account_id: int | None = None


@transaction.atomic
def ask(wish: Wish, *, by: User, attachment: Attachment | None = None) -> CashRequest:
    """Store the request and set aside what it takes. Raises CashRefused."""
    if earlier := CashRequest.objects.filter(key=wish.key).first():
        return earlier
    account = _locked(wish.account_id, wish.to_account_id)
    if earlier := CashRequest.objects.filter(key=wish.key).first():
        return earlier
    _check_wish(wish, by)
    request = CashRequest(
        kind=wish.kind,
        account=account,
        to_account_id=wish.to_account_id,
        currency_id=wish.currency,
        amount=wish.amount,
        reason=wish.reason.strip(),
        key=wish.key,
        maker=by,
        attachment=attachment,
    )
    _check_account(account, takes=bool(request.takes))
    if request.takes:
        _check_free(account, wish.currency, request.takes)
    request.save()
    if request.takes:
        _move(TransferKind.HOLD, request, "hold", account, -request.takes, LedgerKind.HOUSE_PENDING, by)
    return request


@transaction.atomic
def approve(request_id: int, *, by: User, note: str = "") -> CashRequest:
    """Book the request; never by who asked for it. Raises CashRefused, also when somebody else was quicker."""
    request = _decidable(request_id, by)
    if by.pk == request.maker_id:
        raise CashRefused(_("You asked for this yourself: somebody else has to approve it."))
    _check_limit(by, request.currency_id, abs(request.amount), "approve")
    receiver = request.to_account or request.account
    if not request.takes or request.to_account:
        _check_account(receiver, takes=False)
    request.transfer = _book(request, by)
    return _decide(request, RequestState.APPROVED, by, note)


@transaction.atomic
def reject(request_id: int, *, by: User, note: str) -> CashRequest:
    """Refuse the request and give back what was set aside. Raises CashRefused."""
    request = _decidable(request_id, by)
    if by.pk == request.maker_id:
        raise CashRefused(_("You asked for this yourself: cancel it instead."))
    if not note.strip():
        raise CashRefused(_("Write down why it is rejected."))
    _give_back(request, by)
    return _decide(request, RequestState.REJECTED, by, note)


@transaction.atomic
def cancel(request_id: int, *, by: User, note: str = "") -> CashRequest:
    """Withdraw one's own request and give back what was set aside. Raises CashRefused."""
    request = _decidable(request_id, by)
    if by.pk != request.maker_id:
        raise CashRefused(_("Only who asked for it can cancel it. You may reject it."))
    _give_back(request, by)
    return _decide(request, RequestState.CANCELLED, None, note)


def free(account: Account, currency: str) -> Decimal:
    """What can be taken out of the account: its cash, less what positions and orders need; never unrealized profit."""
    balance = Balance.objects.filter(account=account, currency=currency).first()
    available = balance.available if balance else Decimal(0)
    if account.profile.has_positions and currency == account.currency_id:
        available = min(available, account.currency.round_cash(valuation.value(account).free))
    return max(available, Decimal(0))


def limit_of(user: User, currency: str, right: str) -> Decimal | None:
    """The most the user may `request` or `approve`: that of his most generous role. None: no limit."""
    roles = set(user.groups.values_list("name", flat=True))
    limits = {limit.role: limit for limit in CashLimit.objects.filter(currency=currency, role__in=roles)}
    granting = {role for role in roles if _grants(role, right)} or roles
    if not granting or any(role not in limits for role in granting):
        return None
    of_roles: list[Decimal] = [getattr(limits[role], f"{right}_limit") for role in granting]
    return max(of_roles)


def _grants(role: str, right: str) -> bool:
    return role in Role and right in MAY[Role(role)].get("operations", {}).get("cashrequest", ())


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_wish(wish: Wish, by: User) -> None:
    unit = Currency.objects.filter(pk=wish.currency).first()
    if unit is None:
        raise CashRefused(_("There is no currency %(currency)s.") % {"currency": wish.currency})
    amount = wish.amount
    if not amount or unit.round(amount) != amount or (amount < 0 and wish.kind != CashKind.ADJUSTMENT):
        raise CashRefused(
            _("The amount must be positive, with at most %(decimals)s decimals; only an adjustment may be negative.")
            % {"decimals": unit.decimals}
        )
    if not wish.reason.strip():
        raise CashRefused(_("Write down the reason: who decides has to understand it."))
    if (wish.kind == CashKind.TRANSFER) != (wish.to_account_id is not None) or wish.to_account_id == wish.account_id:
        raise CashRefused(_("A transfer needs a second account, other requests have one only."))
    _check_limit(by, wish.currency, abs(amount), "request")


def _check_limit(user: User, currency: str, amount: Decimal, right: str) -> None:
    if not user.has_perm(f"operations.{right}_cashrequest"):
        raise CashRefused(_("Your role does not allow that."))
    limit = limit_of(user, currency, right)
    if limit is not None and amount > limit:
        raise CashRefused(
            _("Your role's limit is %(limit)s %(currency)s: this is more.")
            % {"limit": plain(limit), "currency": currency}
        )


def _check_account(account: Account, *, takes: bool) -> None:
    if account.state == AccountState.CLOSED:
        raise CashRefused(_("The account %(account)s is closed.") % {"account": account.number})
    if takes and account.state == AccountState.BLOCKED:
        raise CashRefused(_("The account %(account)s is blocked: nothing leaves it.") % {"account": account.number})


def _check_free(account: Account, currency: str, amount: Decimal) -> None:
    available = free(account, currency)
    if amount > available:
        raise CashRefused(
            _("Only %(available)s %(currency)s of the account are free.")
            % {"available": plain(available), "currency": currency}
        )


# --- booking ----------------------------------------------------------------------------------------------------------


def _locked(account_id: int, other_id: int | None) -> Account:
    """The account, locked for a change, and the other one too, in the order in which everybody locks them."""
    ids = sorted({account_id, *([other_id] if other_id else [])})
    try:
        accounts = {pk: Account.objects.changing(pk) for pk in ids}
    except Account.DoesNotExist:
        raise CashRefused(_("There is no such account.")) from None
    return accounts[account_id]


def _decidable(request_id: int, by: User) -> CashRequest:
    """The request with its accounts, locked, if it still waits for a decision."""
    asked = CashRequest.objects.filter(pk=request_id).first()
    if asked is None:
        raise CashRefused(_("There is no such request."))
    _locked(asked.account_id, asked.to_account_id)
    request = CashRequest.objects.select_for_update(of=("self",)).get(pk=request_id)
    if request.state != RequestState.REQUESTED:
        raise CashRefused(_("It is decided already: %(state)s.") % {"state": RequestState(request.state).label.lower()})
    return request


def _decide(request: CashRequest, state: RequestState, checker: User | None, note: str) -> CashRequest:
    request.state, request.checker, request.decided_at = state, checker, timezone.now()
    request.decision = note.strip()[:500]
    request.save(update_fields=["state", "checker", "decided_at", "decision", "transfer"])
    return request


def _book(request: CashRequest, by: User) -> Transfer:
    if request.to_account:
        legs = {
            ledger.house(LedgerKind.HOUSE_PENDING, request.currency_id): request.amount,
            ledger.client(request.to_account, request.currency_id): -request.amount,
        }
        return ledger.post(TransferKind.BETWEEN_ACCOUNTS, f"cash-{request.pk}", legs, by=by)
    kind, house = BOOKED[CashKind(request.kind)]
    if request.takes:
        legs = {
            ledger.house(LedgerKind.HOUSE_PENDING, request.currency_id): request.takes,
            ledger.house(house, request.currency_id): -request.takes,
        }
        return ledger.post(kind, f"cash-{request.pk}", legs, by=by)
    return ledger.credit(
        kind, f"cash-{request.pk}", request.account, {request.currency_id: request.amount}, house, by=by
    )


def _give_back(request: CashRequest, by: User) -> None:
    if request.takes:
        _move(TransferKind.RETURN, request, "return", request.account, request.takes, LedgerKind.HOUSE_PENDING, by)


def _move(
    kind: TransferKind, request: CashRequest, step: str, account: Account, amount: Decimal, house: LedgerKind, by: User
) -> Transfer:
    return ledger.credit(kind, f"cash-{request.pk}:{step}", account, {request.currency_id: amount}, house, by=by)
