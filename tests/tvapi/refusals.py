"""How every refusal that the API knows comes about: what a test prepares, and the request that is answered with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from axes.models import AccessAttempt
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.choices import AccountState, Profile
from accounts.models import Account, User
from marketdata.choices import InstrumentState, Shortability
from marketdata.models import SymbolGroup
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import FORM, TradingView
from trading import positions
from trading.errors import OrderRejected, Reason
from trading.models import Order
from trading.states import OrderStatus

LIMIT = {"instrument": "EURUSD", "side": "buy", "type": "limit", "qty": "10000", "limitPrice": "1.05"}
MARKET = {**LIMIT, "type": "market", "limitPrice": ""}
STOP = {**LIMIT, "type": "stop", "limitPrice": "", "stopPrice": "1.2"}
PERPETUAL = {"instrument": "BTCUSDT.P", "side": "buy", "orderType": "limit"}
PASSWORD = "a-password-of-tests"


class Ask(NamedTuple):
    """One request; where its answers to each `locale` can be compared."""

    method: str
    path: str
    body: str | bytes | Mapping[str, str] = ""
    headers: Mapping[str, str] = {}
    content_type: str = FORM
    token: str | None = None  # another than the trader's

    def send(self, tv: TradingView, locale: str) -> Any:
        client = tv if self.token is None else TradingView(self.token)
        path, _mark, query = self.path.partition("?")
        body = self.body
        if isinstance(body, Mapping):
            # `/authorize` has it in its body (LOC-5); elsewhere a field more is tolerated.
            body = urlencode({**body, "locale": locale})
        query = "&".join(part for part in (f"locale={locale}", query) if part)
        return client.send(self.method, f"{path}?{query}", body, content_type=self.content_type, **self.headers)[1]


@dataclass
class Scene:
    """A trader and what can be done to bring about a refusal."""

    trader: User
    settings: Any
    monkeypatch: pytest.MonkeyPatch
    faults: list[Any] = field(default_factory=list)

    def account(
        self,
        profile: Profile = Profile.FX_NETTING,
        symbol: str = "EURUSD",
        *,
        price: tuple[str, str] | None = ("1.10000", "1.10010"),
        size: str = "10000000",
        instrument: Mapping[str, Any] | None = None,
        base: str = "USD",
        state: AccountState = AccountState.ACTIVE,
        **conditions: Any,
    ) -> Account:
        """The account called A, with 100,000 of its currency, that trades one symbol."""
        factories.instrument(symbol, **(instrument or {}))
        if price:
            factories.quote(symbol, *price, size=size)
        group = factories.group(profile, symbols=[symbol], **conditions)
        return factories.account(owner=self.trader, number="A", of_group=group, base=base, state=state)

    def bought(self, profile: Profile = Profile.FX_NETTING) -> tuple[Account, int]:
        """An account and its long position of 10,000."""
        account = self.account(profile)
        desk.fill(account, "buy", "10000")
        return account, account.positions.get().pk

    def bracket(self) -> Order:
        """The stop loss of an order that waits."""
        account = self.account()
        return desk.fill(account, "buy", "10000", limit="1.05", sl="1.04").brackets.get()

    def patch(self, place: str, error: Exception) -> None:
        def broken(*args: Any, **kwargs: Any) -> None:
            raise error

        self.monkeypatch.setattr(place, broken)


Prepared = Callable[[Scene], Ask]


def order(change: Mapping[str, str] | None = None, /, form: Mapping[str, str] = LIMIT, **scene: Any) -> Prepared:
    """Placing an order in an account of this kind."""

    def prepare(it: Scene) -> Ask:
        it.account(**scene)
        return Ask("POST", "/accounts/A/orders", {**form, **(change or {})})

    return prepare


def of_account(method: str, path: str, form: Mapping[str, str] | None = None, **scene: Any) -> Prepared:
    def prepare(it: Scene) -> Ask:
        it.account(**scene)
        return Ask(method, f"/accounts/A/{path}", form or {})

    return prepare


def plain(*ask: Any, **more: Any) -> Prepared:
    return lambda it: Ask(*ask, **more)


def with_account(*ask: Any, **more: Any) -> Prepared:
    def prepare(it: Scene) -> Ask:
        it.account()
        return Ask(*ask, **more)

    return prepare


def unreachable(reason: Reason) -> Prepared:
    """What nothing raises with the profiles there are, or only a venue of others does: raised by hand in placing."""

    def prepare(it: Scene) -> Ask:
        it.account()
        figures = dict.fromkeys(("type", "text"), "1")
        it.patch("trading.orders.place", OrderRejected(reason, **figures))
        return Ask("POST", "/accounts/A/orders", LIMIT)

    return prepare


def _days_closed() -> str:
    """A session of one hour a week, in three days."""
    return f"0900-1000:{(datetime.now(UTC).isoweekday() + 3) % 7 + 1}"


def _market_closed(it: Scene) -> Ask:
    return order(form=MARKET, instrument={"session_regular": _days_closed()})(it)


def _too_many_orders(it: Scene) -> Ask:
    desk.place(it.account(max_open_orders=1), "buy", "10000", limit="1.05")
    return Ask("POST", "/accounts/A/orders", LIMIT)


def _ended(status: OrderStatus) -> Prepared:
    def prepare(it: Scene) -> Ask:
        placed = desk.place(it.account(), "buy", "10000")
        if status is OrderStatus.FILLED:
            desk.drain(placed.account)
        else:
            end(placed, status)
        return Ask("DELETE", f"/accounts/A/orders/{placed.pk}", {})

    return prepare


def end(placed: Order, status: OrderStatus, **fields: Any) -> None:
    """Let the order have ended so, whatever led to it."""
    Order.objects.filter(pk=placed.pk).update(status=status, queued=False, held=0, final_at=timezone.now(), **fields)


def _below_filled(it: Scene) -> Ask:
    placed = desk.fill(it.account(size="1000"), "buy", "2000", limit="1.11")
    return Ask("PUT", f"/accounts/A/orders/{placed.pk}", {"qty": "500"})


def _already_triggered(it: Scene) -> Ask:
    placed = desk.fill(it.account(), "buy", "10000", stop="1.2", limit="1.2")
    Order.objects.filter(pk=placed.pk).update(triggered_at=timezone.now())
    return Ask("PUT", f"/accounts/A/orders/{placed.pk}", {"qty": "10000", "stopPrice": "1.3"})


def _position(method: str, form: Mapping[str, str], profile: Profile = Profile.FX_NETTING) -> Prepared:
    return lambda it: Ask(method, f"/accounts/A/positions/{it.bought(profile)[1]}", form)


def _closing(method: str) -> Prepared:
    """A position that is being closed: asked to be closed again, or its order to be protected."""

    def prepare(it: Scene) -> Ask:
        account, position = it.bought()
        closing = positions.close(account.pk, position, request_id="r")
        if method == "DELETE":
            return Ask("DELETE", f"/accounts/A/positions/{position}", {})
        return Ask("PUT", f"/accounts/A/orders/{closing.pk}", {"qty": "10000", "stopLoss": "1.0"})

    return prepare


def _bracket(form: Mapping[str, str]) -> Prepared:
    return lambda it: Ask("PUT", f"/accounts/A/orders/{it.bracket().pk}", form)


def _confirmed(then: Mapping[str, str], uses: int) -> Prepared:
    def prepare(it: Scene) -> Ask:
        it.account()
        tv = TradingView(factories.token(it.trader))
        confirm = tv.post("/accounts/A/previewOrder", LIMIT)["d"]["confirmId"]
        for _ in range(uses):
            tv.post("/accounts/A/orders", LIMIT, confirmId=confirm)
        return Ask("POST", f"/accounts/A/orders?{urlencode({'confirmId': confirm})}", {**LIMIT, **then})

    return prepare


def perpetual(what: str, **form: str) -> Prepared:
    def prepare(it: Scene) -> Ask:
        account = it.account(
            Profile.PERPETUAL,
            "BTCUSDT.P",
            price=("60000", "60000"),
            base="USDT",
            margin_rate=Decimal("0.1"),
        )
        factories.set_terms(account.group, max_leverage=50)
        desk.fill(account, "buy", "10", "BTCUSDT.P")
        return Ask("POST", f"/accounts/A/{what}Leverage", {**PERPETUAL, **form})

    return prepare


REASONS: dict[Reason, Prepared] = {
    Reason.UNKNOWN_INSTRUMENT: order({"instrument": "GBPUSD"}),
    Reason.UNKNOWN_ORDER: of_account("DELETE", "orders/99"),
    Reason.UNKNOWN_POSITION: of_account("DELETE", "positions/99"),
    Reason.ACCOUNT_CLOSE_ONLY: order(state=AccountState.CLOSE_ONLY),
    Reason.ACCOUNT_NO_TRADING: order(state=AccountState.NO_TRADING),
    Reason.INSTRUMENT_CLOSE_ONLY: order(instrument={"state": InstrumentState.CLOSE_ONLY}),
    Reason.INSTRUMENT_HALTED: order(instrument={"state": InstrumentState.HALTED}),
    Reason.MARKET_CLOSED: _market_closed,
    Reason.QTY_TOO_SMALL: order({"qty": "1000"}, instrument={"min_qty": Decimal(2000)}),
    Reason.QTY_TOO_LARGE: order({"qty": "20000000"}),
    Reason.QTY_STEP: order({"qty": "1500"}),
    Reason.QTY_BELOW_FILLED: _below_filled,
    Reason.QTY_ABOVE_POSITION: _position("DELETE", {"amount": "20000"}),
    Reason.PRICE_STEP: order({"limitPrice": "1.050001"}),
    Reason.PRICE_MISSING: order({"limitPrice": ""}),
    Reason.PRICE_NOT_POSITIVE: order({"limitPrice": "-1"}),
    Reason.PRICE_UNWANTED: order({"stopPrice": "1.2"}),
    Reason.STOP_SIDE_BUY: order({"stopPrice": "1.0"}, STOP),
    Reason.STOP_SIDE_SELL: order({"side": "sell", "stopPrice": "1.3"}, STOP),
    Reason.NO_PRICE: order(form=MARKET, price=None),
    Reason.NO_CONVERSION: order(base="JPY"),
    Reason.MARGIN: order({"qty": "10000000"}),
    Reason.NOT_SHORTABLE: order({"side": "sell", "limitPrice": "1.2"}, instrument={"shortability": Shortability.NONE}),
    Reason.NO_LEVERAGE: of_account("POST", "getLeverage", {**PERPETUAL, "instrument": "EURUSD"}),
    Reason.LEVERAGE_RANGE: perpetual("set", leverage="51"),
    Reason.BALANCE: order(
        {"instrument": "BTCUSDT", "qty": "100", "limitPrice": "60000"},
        profile=Profile.SPOT,
        symbol="BTCUSDT",
        price=("60000", "60001"),
        base="USDT",
    ),
    Reason.TOO_MANY_ORDERS: _too_many_orders,
    Reason.ORDER_FINAL_FILLED: _ended(OrderStatus.FILLED),
    Reason.ORDER_FINAL_CANCELLED: _ended(OrderStatus.CANCELLED),
    Reason.ORDER_FINAL_REJECTED: _ended(OrderStatus.REJECTED),
    Reason.CLOSING_EXISTS: _closing("DELETE"),
    Reason.PRICE_BAND: order({"limitPrice": "0.5"}, price_band=Decimal("0.1")),
    Reason.ALREADY_TRIGGERED: _already_triggered,
    Reason.DURATION: order({"durationType": "odd"}),
    Reason.DURATION_OF_TYPE: order({"durationType": "ioc"}, STOP),
    Reason.GTD_MISSING: order({"durationType": "gtd"}),
    Reason.GTD_PAST: order({"durationType": "gtd", "durationDateTime": "1"}),
    Reason.GTD_TOO_FAR: order({"durationType": "gtd", "durationDateTime": "9999999999"}),
    Reason.BRACKETS_OF_CLOSING: _closing("PUT"),
    Reason.BRACKETS_OF_BRACKET: _bracket({"qty": "10000", "stopLoss": "1.0"}),
    Reason.BRACKET_QTY: _bracket({"qty": "20000", "stopPrice": "1.03"}),
    Reason.GUARANTEED_STOP: order({"guaranteedStop": "1"}),
    Reason.TRAILING_STEP: order({"trailingStopPips": "0.01"}),
    Reason.TRAILING_TOO_FAR: order({"trailingStopPips": "20000"}),
    Reason.STOP_LOSS_BELOW: order({"stopLoss": "1.06"}),
    Reason.STOP_LOSS_ABOVE: order({"side": "sell", "limitPrice": "1.2", "stopLoss": "1.1"}),
    Reason.TAKE_PROFIT_ABOVE: order({"takeProfit": "1.0"}),
    Reason.TAKE_PROFIT_BELOW: order({"side": "sell", "limitPrice": "1.2", "takeProfit": "1.3"}),
    Reason.REVERSE_NET_ONLY: _position("PUT", {"side": "sell"}, Profile.FX_HEDGING),
    Reason.REVERSE_SAME_SIDE: _position("PUT", {"side": "buy"}),
    Reason.CHANGE_PENDING: unreachable(Reason.CHANGE_PENDING),
    Reason.CONFIRM_UNKNOWN: with_account("POST", "/accounts/A/orders?confirmId=x", LIMIT),
    Reason.CONFIRM_USED: _confirmed({}, uses=1),
    Reason.CONFIRM_OTHER: _confirmed({"qty": "20000"}, uses=0),
}
# Why orders end: said with the order, see `test_why_orders_ended`. A request can be refused for none of these.
ENDS = set(Reason) - set(REASONS)


def _fault(it: Scene) -> Ask:
    it.patch("tvapi.views.data._groups", ZeroDivisionError())
    return Ask("GET", "/groups")


def _log_in(it: Scene) -> dict[str, str]:
    it.trader.set_password(PASSWORD)
    it.trader.save()
    it.settings.AXES_FAILURE_LIMIT = 1000
    return {"login": it.trader.username, "password": PASSWORD}


def _wrong_password(it: Scene) -> Ask:
    return Ask("POST", "/authorize", {**_log_in(it), "password": "wrong"})


def _locked(it: Scene) -> Ask:
    form = _log_in(it)
    it.settings.AXES_FAILURE_LIMIT = 1
    TradingView().post("/authorize", {**form, "password": "wrong"})
    return Ask("POST", "/authorize", form)


def _sprayed(it: Scene) -> Ask:
    form = _log_in(it)
    it.settings.LOGINS_TRIED_BY_ADDRESS = 1
    AccessAttempt.objects.create(
        username="another", ip_address="127.0.0.1", attempt_time=timezone.now(), failures_since_start=1
    )
    return Ask("POST", "/authorize", form)


def _second_factor(it: Scene) -> Ask:
    TOTPDevice.objects.create(user=it.trader, name="app", confirmed=True)
    return Ask("POST", "/authorize", _log_in(it))


def _no_symbols(it: Scene) -> Ask:
    SymbolGroup.objects.all().delete()
    return Ask("GET", "/symbol_info")


def _history(**query: str) -> Prepared:
    def prepare(it: Scene) -> Ask:
        factories.instrument("EURUSD")
        wanted = {"symbol": "EURUSD", "resolution": "1", "from": "0", "to": "1", **query}
        return Ask("GET", f"/history?{urlencode(wanted)}")

    return prepare


def _at_the_limit(it: Scene) -> Ask:
    it.account()
    return Ask("POST", "/accounts/A/previewOrder", {**LIMIT, "limitPrice": "1.2"})


def _waits_for_opening(it: Scene) -> Ask:
    it.account(instrument={"session_regular": _days_closed()})
    return Ask("POST", "/accounts/A/previewOrder", LIMIT)


ORDERS = "/accounts/A/orders"
# Sentences of the API that have no code.
SENTENCES: dict[str, Prepared] = {
    "This account holds its money in one currency and has no balances by asset.": of_account("GET", "balances"),
    "There is no such account.": plain("GET", "/accounts/NOPE/state"),
    "Your session has ended. Please log in again.": plain("GET", "/config", token="unknown"),
    "This address does not know the method used.": plain("PATCH", "/config"),
    "Requests are sent as a form (application/x-www-form-urlencoded).": with_account(
        "POST", ORDERS, "{}", content_type="application/json"
    ),
    "The request is too large.": with_account("POST", ORDERS, "x=" + "1" * 100_000),
    "Something went wrong on our side. Please try again.": _fault,
    "The field “%(field)s” is missing.": order({"side": ""}),
    "The field “%(field)s” is too long.": with_account("POST", f"{ORDERS}?requestId={'x' * 200}", LIMIT),
    "The field “%(field)s” must be a number, written like 1.25.": order({"qty": "1,25"}),
    "The field “%(field)s” has too many decimals.": order({"qty": "1.00000000000001"}),
    "The field “%(field)s” must be above zero.": order({"qty": "0"}),
    "The field “%(field)s” must be a whole number.": _history(to="1.5"),
    "The field “%(field)s” must be a moment in Unix seconds.": order({"durationDateTime": "tomorrow"}),
    "The field “%(field)s” must be a whole number, %(least)s or more.": of_account("GET", "ordersHistory?maxCount=-1"),
    "The field “%(field)s” must be one of: %(choices)s.": order({"side": "hold"}),
    "Ask for at most %(limit)s symbols at a time.": with_account(
        "GET", f"/quotes?accountId=A&symbols={','.join(['X'] * 501)}"
    ),
    "There were too many failed logins from your network. Please try again in a few minutes.": _sprayed,
    "There were too many wrong passwords for this login. Please try again in a few minutes.": _locked,
    "Wrong login or password.": _wrong_password,
    "The request is not valid UTF-8.": plain("GET", "/groups?x=%FF"),
    "The request has too many fields.": plain("GET", "/groups?" + "&".join(f"a{n}" for n in range(300))),
    "The request contains characters that are not allowed.": plain("GET", "/groups?x=%00"),
    "The field “%(field)s” was sent twice.": plain("GET", "/groups?x=1&x=2"),
    "This login has no trading account.": plain("GET", "/accounts"),
    "This stream is not available at the moment.": of_account("GET", "stream/orders"),
    "This login has a second factor. Please log in on the broker's own page.": _second_factor,
    "The request must say how long it is (Content-Length).": with_account(
        "POST", ORDERS, headers={"transfer-encoding": "chunked"}
    ),
    "There is no such group of symbols.": plain("GET", "/symbol_info?group=nothing"),
    "There are no symbols here.": _no_symbols,
    "There is no such symbol.": _history(symbol="NOPE"),
    "There are bars of minutes (1) and of days (1D), not of %(resolution)s.": _history(resolution="5"),
    "The stream of prices is not served at this address.": plain("GET", "/streaming"),
    "This is not available here.": of_account("GET", "nothing"),
    "Position and orders need a margin of %(needed)s %(currency)s at %(leverage)s:1.": perpetual(
        "preview", leverage="25"
    ),
    "High leverage raises the risk of losses.": perpetual("preview", leverage="25"),
    "There is not enough free margin for this leverage.": perpetual("preview", leverage="2"),
    "The market is closed: the order waits until it opens.": _waits_for_opening,
    "The market is at the limit price already: the order is filled at once.": _at_the_limit,
}
