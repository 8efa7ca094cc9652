"""Instruments, their groups and mappings, and the bars made of their prices."""

from marketdata.models.bars import BarChunk, BarCorrection, LogPosition, Notice, OpenBar, StreamComparison
from marketdata.models.feeds import BadQuotes, FeedRoute, FeedSource
from marketdata.models.instruments import GROUP_PATTERN, SYMBOL_PATTERN, Holiday, Instrument, SymbolGroup
from marketdata.models.mappings import FULL_NAME_PATTERN, SymbolMapping

__all__ = [
    "FULL_NAME_PATTERN",
    "GROUP_PATTERN",
    "SYMBOL_PATTERN",
    "BadQuotes",
    "BarChunk",
    "BarCorrection",
    "FeedRoute",
    "FeedSource",
    "Holiday",
    "Instrument",
    "LogPosition",
    "Notice",
    "OpenBar",
    "StreamComparison",
    "SymbolGroup",
    "SymbolMapping",
]
