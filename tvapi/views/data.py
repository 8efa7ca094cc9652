"""The data half, for TradingView's servers: groups, symbols, bars, mappings. Any token opens it."""

from __future__ import annotations

from django.db import connection
from django.utils.translation import gettext_lazy as _
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import entitlements
from marketdata import bars, mappings
from marketdata.models import Instrument, SymbolGroup
from tvapi import forms, symbol_lists, wire
from tvapi.exceptions import Refused
from tvapi.renderers import PlainResponse, PreparedResponse
from tvapi.views.base import WireView, ok


class MappingView(WireView):
    """Published mappings, for everybody at any time (MAP-4)."""

    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response(wire.mapping(mappings.published()))


class GroupsView(WireView):
    def get(self, request: Request) -> Response:
        existing = _groups()
        visible = entitlements.groups_of(self.user, existing)
        return ok({"groups": [{"id": name} for name in visible if name in existing]})


class PermissionsView(WireView):
    """The groups this user may see, TradingView's own among them (PRM-1, PRM-2)."""

    def get(self, request: Request) -> Response:
        return ok({"groups": entitlements.groups_of(self.user, _groups())})


class SymbolInfoView(WireView):
    """The symbols of one group, or of all groups (GRP-6)."""

    def get(self, request: Request) -> Response:
        visible = entitlements.groups_of(self.user, _groups())
        if (group := self.query.get("group")) is not None:
            if group not in visible:
                raise Refused(_("There is no such group of symbols."))
            visible = [group]
        document = symbol_lists.document(visible)
        if not document:
            raise Refused(_("There are no symbols here."))  # the schema knows no empty columns
        return PreparedResponse(document, request)


class HistoryView(WireView):
    def get(self, request: Request) -> Response:
        query = self.read_query(forms.HistoryQuery)
        instrument_id = self._instrument_id(query["symbol"])
        asked, countback = (query["resolution"], query["from"], query["to"]), query.get("countback")
        if countback is None and (days := bars.whole_days(instrument_id, *asked)):
            return PlainResponse(wire.whole_days(days))
        try:
            columns = bars.history(Instrument.objects.get(pk=instrument_id), *asked, countback=countback)
        except bars.UnknownResolution as error:
            raise Refused(str(error)) from error
        return Response(wire.history(columns))

    def _instrument_id(self, symbol: str) -> int:
        """Any instrument that has bars, in no group or in one that the user may see. Raises Refused (HIST-12)."""
        if forms.is_symbol(symbol) and (found := _instrument_and_group(symbol)):
            instrument_id, group = found
            if group is None or group in entitlements.groups_of(self.user, [group]):
                return instrument_id
        raise Refused(_("There is no such symbol."))


class StreamingView(WireView):
    """A request for the stream that reaches Django: without a token it gets 401; the stream is served elsewhere."""

    def get(self, request: Request) -> Response:
        raise Refused(_("The stream of prices is not served at this address."))


_BY_SYMBOL = f"""
SELECT instrument.id, symbol_group.name FROM {Instrument._meta.db_table} AS instrument
  LEFT JOIN {SymbolGroup._meta.db_table} AS symbol_group ON symbol_group.id = instrument.symbol_group_id
 WHERE instrument.symbol = %s
"""  # noqa: S608


def _instrument_and_group(symbol: str) -> tuple[int, str | None] | None:
    """The ids of both; asked for every day of every symbol while the archive is filled, so without a model."""
    with connection.cursor() as cursor:
        found: tuple[int, str | None] | None = cursor.execute(_BY_SYMBOL, [symbol]).fetchone()
    return found


def _groups() -> list[str]:
    return list(SymbolGroup.objects.order_by("name").values_list("name", flat=True))
