"""What every protocol of a price source has to say; connecting and its failures are not its business."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple


class Price(NamedTuple):
    """A change of prices at a source, under its own symbol. `last` and `last_size` are there when it is a trade."""

    symbol: str
    time_ms: int
    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    last: Decimal | None = None
    last_size: Decimal | None = None


class Unreadable(ValueError):
    """A message that is not of the protocol."""


class Adapter(ABC):
    """One connection's view of the protocol, made anew for each connection."""

    public_url: str  # of the source's own servers
    poll_seconds: float | None = None  # HTTP: how often the address is asked; None: WebSocket

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = symbols

    @abstractmethod
    def address(self, url: str) -> str:
        """Where to connect for the symbols, at this server."""

    def greetings(self) -> Iterable[str]:
        """What to send once connected."""
        return ()

    @abstractmethod
    def prices(self, message: str | bytes) -> Iterable[Price]:
        """What the message says of prices. Raises `Unreadable`."""
