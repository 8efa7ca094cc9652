"""Words of market data that other apps use too."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class SymbolType(models.TextChoices):
    """`type` of `/symbol_info`; a CFD has the type of its underlying and `is_cfd` (DIS-9)."""

    STOCK = "stock", _("Stock")
    DR = "dr", _("Depositary receipt")
    RIGHT = "right", _("Right")
    BOND = "bond", _("Bond")
    WARRANT = "warrant", _("Warrant")
    STRUCTURED = "structured", _("Structured product")
    INDEX = "index", _("Index")
    FOREX = "forex", _("Forex")
    FUTURES = "futures", _("Futures")
    CRYPTO = "crypto", _("Crypto")


class InstrumentState(models.TextChoices):
    TRADING = "trading", _("Trading")
    CLOSE_ONLY = "close_only", _("Close only")
    HALTED = "halted", _("Halted")


class Shortability(models.TextChoices):
    """What `/quotes` says of borrowing the share (QTE-4)."""

    EASY = "easy", _("Easy to borrow")
    HARD = "hard", _("Hard to borrow")
    NONE = "none", _("Not shortable")


class BarSource(models.TextChoices):
    """Which price of a tick makes the bars (BAR-8)."""

    TRADE = "trade", _("Trades")
    BID = "bid", _("Bid")
    ASK = "ask", _("Ask")
    MID = "mid", _("Middle of bid and ask")


class Resolution(models.TextChoices):
    MINUTE = "1", _("One minute")
    DAY = "1D", _("One day")


class MappingState(models.TextChoices):
    """How far an instrument is on its way into `/mapping`."""

    UNMAPPED = "unmapped", _("Unmapped")
    SUGGESTED = "suggested", _("Suggested")
    DRAFT = "draft", _("Draft")
    PUBLISHED = "published", _("Published")
    BROKEN = "broken", _("Broken")


class MappingProblem(models.TextChoices):
    """Why what was chosen for an instrument cannot be right (MAP-1 … MAP-3)."""

    COLLISION = "collision", _("Another instrument has this symbol")
    FOREX = "forex", _("Forex needs data of our own: prices differ elsewhere")
    UNKNOWN = "unknown", _("TradingView has no such symbol")
    TYPE = "type", _("TradingView's symbol is of another type")
    CURRENCY = "currency", _("TradingView's symbol is in another currency")


class Agreement(models.TextChoices):
    """What an instrument and a suggested symbol have in common."""

    NAME = "name", _("name")
    DESCRIPTION = "description", _("description")
    TYPE = "type", _("type")
    CURRENCY = "currency", _("currency")
    EXCHANGE = "exchange", _("exchange")
    TICK = "tick", _("tick size")


class Defect(models.TextChoices):
    """Why a tick is not traded on."""

    ZERO = "zero", _("Zero or less")
    CROSSED = "crossed", _("Bid above ask")
    JUMP = "jump", _("Jump")
    STALE = "stale", _("Late or out of order")


class FeedKind(models.TextChoices):
    """Which protocol a price source speaks; `marketdata.adapters` has one for each."""

    BINANCE = "binance", _("Binance")
    BINANCE_HTTP = "binance_http", _("Binance, asked every second")


class FeedState(models.TextChoices):
    OFF = "off", _("Off")
    CONNECTING = "connecting", _("Connecting")
    LIVE = "live", _("Live")
    STALE = "stale", _("Without prices")
    FAILED = "failed", _("Failed")
