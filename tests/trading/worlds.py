"""The kinds of accounts that the state machine drives, and what each of them trades."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from accounts.choices import CommissionKind, FeeAsset, Profile

D = Decimal


@dataclass(frozen=True)
class Market:
    """An instrument to trade: where it begins, the unit its prices move by, and the quantity it is traded in."""

    symbol: str
    begins: Decimal
    unit: Decimal
    lot: Decimal


@dataclass(frozen=True)
class World:
    """A kind of account, and what it trades."""

    name: str
    profile: Profile
    markets: tuple[Market, ...]
    base: str
    deposits: dict[str, Decimal]
    conditions: dict[str, Any] = field(default_factory=dict)


EURUSD = Market("EURUSD", D("1.10000"), D("0.00050"), D(10_000))
USDJPY = Market("USDJPY", D("150.000"), D("0.050"), D(10_000))
WORLDS = [
    World("netting", Profile.FX_NETTING, (EURUSD, USDJPY), "EUR", {"EUR": D(10_000)}, {
        "commission_kind": CommissionKind.PER_MILLION, "commission_rate": D(30),
    }),
    World("hedging", Profile.FX_HEDGING, (EURUSD,), "USD", {"USD": D(10_000)}, {
        "stops_both_ways": True, "stop_limits_both_ways": True, "protects_negative_balance": True,
    }),
    World("spot", Profile.SPOT, (Market("BTCUSDT", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(40_000), "BTC": D(1)}, {"commission_kind": CommissionKind.PERCENT, "commission_rate": D("0.1")}),
    World("spot, fee of what is received", Profile.SPOT, (Market("BTCUSDT", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(40_000)}, {
        "commission_kind": CommissionKind.PERCENT, "commission_rate": D("0.1"), "fee_asset": FeeAsset.RECEIVED,
    }),
    World("perpetual", Profile.PERPETUAL, (Market("BTCUSDT.P", D(60_000), D(20), D("0.05")),), "USDT",
          {"USDT": D(5000)}, {"margin_rate": D("0.02"), "maintenance_rate": D("0.01")}),
    World("shares", Profile.EXCHANGE, (Market("ACME", D(100), D("0.05"), D(10)),), "USD", {"USD": D(10_000)}, {
        "margin_rate": D("0.25"), "maintenance_rate": D("0.2"),
        "commission_kind": CommissionKind.PER_UNIT, "commission_rate": D("0.005"), "commission_minimum": D(1),
    }),
]  # fmt: skip
