"""The protocols of price sources."""

from collections.abc import Mapping

from marketdata.adapters.base import Adapter, Price
from marketdata.adapters.binance import Binance, PolledBinance
from marketdata.choices import FeedKind

__all__ = ["ADAPTERS", "Adapter", "Price"]

ADAPTERS: Mapping[str, type[Adapter]] = {FeedKind.BINANCE: Binance, FeedKind.BINANCE_HTTP: PolledBinance}
