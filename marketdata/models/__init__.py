"""Instruments, their groups and mappings, and the bars made of their prices."""

from marketdata.models.bars import BadQuotes, BarChunk, BarCorrection, LogPosition, Notice, OpenBar, StreamComparison
from marketdata.models.feeds import FeedRoute, FeedSource
from marketdata.models.instruments import GROUP_PATTERN, SYMBOL_PATTERN, Holiday, Instrument, SymbolGroup
from marketdata.models.mappings import (
    FULL_NAME_PATTERN,
    MappedInstrument,
    MappingChange,
    MappingRelease,
    MappingSuggestion,
    SymbolMapping,
    TradingViewSymbol,
)

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
    "MappedInstrument",
    "MappingChange",
    "MappingRelease",
    "MappingSuggestion",
    "Notice",
    "OpenBar",
    "StreamComparison",
    "SymbolGroup",
    "SymbolMapping",
    "TradingViewSymbol",
]
