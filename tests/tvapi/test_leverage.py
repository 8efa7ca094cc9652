"""The leverage endpoints (LEV-1 … LEV-5)."""

from decimal import Decimal

import pytest

from accounts.choices import Profile
from tests import factories
from tests.trading import desk
from tests.tvapi.contract import refused

TICKET = {"instrument": "BTCUSDT.P", "side": "buy", "orderType": "limit"}


@pytest.fixture
def account(trader):
    """Half a coin bought at 60,000 at 10:1; up to 50:1."""
    factories.quote("BTCUSDT.P", "60000", "60000", size="100")
    group = factories.group(Profile.PERPETUAL, symbols=["BTCUSDT.P"], margin_rate=Decimal("0.1"))
    factories.set_terms(group, max_leverage=50)
    made = factories.account(
        owner=trader, number="PERP", of_group=group, base="USDT", deposits={"USDT": Decimal(10_000)}
    )
    desk.fill(made, "buy", "0.5", "BTCUSDT.P")
    return made


def ask(tv, what, **fields):
    return tv.post(f"/accounts/PERP/{what}Leverage", {**TICKET, **fields}, locale="en")


def test_the_groups_leverage_holds_until_another_is_set(tv, account):
    shown = {"title": "Leverage of BTCUSDT.P", "leverage": 10, "min": 1, "max": 50, "step": 1}
    assert ask(tv, "get") == {"s": "ok", "d": shown}
    assert ask(tv, "set", leverage="20") == {"s": "ok", "d": {"leverage": 20}}
    assert ask(tv, "get")["d"] == {**shown, "leverage": 20}


def test_what_is_set_is_a_whole_step_and_margins_the_position(tv, account):
    assert ask(tv, "set", leverage="12.7")["d"] == {"leverage": 12}
    assert account.positions.get().margin == Decimal(2500)
    [instrument] = tv.d("/accounts/PERP/instruments")
    assert instrument["marginRate"] == Decimal("0.083333333334")


def test_preview_tells_what_it_would_do_and_changes_nothing(tv, account):
    assert ask(tv, "preview", leverage="25")["d"] == {
        "infos": ["Position and orders need a margin of 1,200.00 USDT at 25:1."],
        "warnings": ["High leverage raises the risk of losses."],
    }
    assert ask(tv, "preview", leverage="2")["d"] == {
        "infos": ["Position and orders need a margin of 15,000.00 USDT at 2:1."],
        "errors": ["There is not enough free margin for this leverage."],
    }
    assert ask(tv, "preview", leverage="51")["d"] == {
        "errors": ["The leverage for BTCUSDT.P must lie between 1 and 50."]
    }
    assert account.positions.get().margin == Decimal(3000)
    assert ask(tv, "get")["d"]["leverage"] == 10


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"leverage": "2"}, "Not enough free margin: 12000 USDT needed, 7000 USDT free."),
        ({"leverage": "51"}, "The leverage for BTCUSDT.P must lie between 1 and 50."),
        ({"leverage": "0"}, "The field “leverage” must be above zero."),
        ({"leverage": "x"}, "The field “leverage” must be a number, written like 1.25."),
        ({}, "The field “leverage” is missing."),
        ({"leverage": "5", "instrument": "EURUSD"}, "There is no instrument EURUSD in this account."),
        ({"leverage": "5", "orderType": "odd"}, "The field “orderType” must be one of: "),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(tv, account, fields, sentence):
    assert refused(ask(tv, "set", **fields)).startswith(sentence)
    assert account.positions.get().margin == Decimal(3000)
    assert not account.leverages.exists()


@pytest.mark.parametrize("what", ["get", "preview", "set"])
def test_other_profiles_have_no_leverage_to_choose(tv, trader, what):
    factories.account(owner=trader, number="FX")
    form = {**TICKET, "instrument": "EURUSD", "leverage": "5"}
    answer = tv.post(f"/accounts/FX/{what}Leverage", form, locale="en")
    assert refused(answer) == "The leverage of EURUSD cannot be chosen in this account."


@pytest.mark.parametrize("what", ["get", "preview", "set"])
def test_anothers_account_is_refused_like_an_unknown_one(tv, what):
    factories.account(Profile.PERPETUAL, number="OTHERS", symbols=["BTCUSDT.P"], base="USDT")
    for account_id in ("OTHERS", "UNKNOWN", "%0A"):
        answer = tv.post(f"/accounts/{account_id}/{what}Leverage", {**TICKET, "leverage": "5"})
        assert refused(answer) == "There is no such account."


def test_accounts_say_whether_leverage_is_chosen(tv, trader):
    for profile in Profile:
        factories.account(profile, owner=trader, symbols=(), number=profile.upper().replace("_", "-"))
    flags = {each["id"]: each["config"]["supportLeverage"] for each in tv.d("/accounts")}
    assert [number for number, leveraged in flags.items() if leveraged] == ["PERPETUAL"]
