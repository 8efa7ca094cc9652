from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from tvapi.views import accounts, authorization, data, fallback, leverage, oauth, orders, positions, prices


class AnythingConverter(StringConverter):
    """An id with whatever characters a client sends, slashes and line feeds too: the view refuses what is unknown."""

    regex = "(?s:.*?)"


register_converter(AnythingConverter, "any")

urlpatterns: list[URLPattern] = [
    path("authorize", authorization.AuthorizeView.as_view()),
    path("logout", authorization.LogoutView.as_view()),
    path("oauth2/authorize", oauth.AuthorizeView.as_view(), name="oauth-authorize"),
    path("oauth2/token", oauth.TokenView.as_view(), name="oauth-token"),
    path("config", accounts.ConfigView.as_view()),
    path("accounts", accounts.AccountsView.as_view()),
    # These two first: an id that ends like another address is still an id.
    path("accounts/<any:account_id>/orders/<any:order_id>", orders.OrderView.as_view()),
    path("accounts/<any:account_id>/positions/<any:position_id>", positions.PositionView.as_view()),
    path("accounts/<any:account_id>/stream/<any:kind>", accounts.StreamView.as_view()),
    path("accounts/<any:account_id>/previewOrder", orders.PreviewView.as_view()),
    path("accounts/<any:account_id>/trackLatency", orders.LatencyView.as_view()),
    path("accounts/<any:account_id>/instruments", accounts.InstrumentsView.as_view()),
    path("accounts/<any:account_id>/state", accounts.StateView.as_view()),
    path("accounts/<any:account_id>/balances", accounts.BalancesView.as_view()),
    path("accounts/<any:account_id>/orders", orders.OrdersView.as_view()),
    path("accounts/<any:account_id>/ordersHistory", orders.OrdersHistoryView.as_view()),
    path("accounts/<any:account_id>/positions", positions.PositionsView.as_view()),
    path("accounts/<any:account_id>/executions", positions.ExecutionsView.as_view()),
    path("accounts/<any:account_id>/getLeverage", leverage.GetLeverageView.as_view()),
    path("accounts/<any:account_id>/previewLeverage", leverage.PreviewLeverageView.as_view()),
    path("accounts/<any:account_id>/setLeverage", leverage.SetLeverageView.as_view()),
    path("quotes", prices.QuotesView.as_view()),
    path("depth", prices.DepthView.as_view()),
    path("mapping", data.MappingView.as_view()),
    path("groups", data.GroupsView.as_view()),
    path("permissions", data.PermissionsView.as_view()),
    path("symbol_info", data.SymbolInfoView.as_view()),
    path("history", data.HistoryView.as_view()),
    path("streaming", data.StreamingView.as_view()),
    path("accounts/<any:rest>", fallback.NothingOfAccountView.as_view()),
    path("<any:rest>", fallback.NothingView.as_view()),
]
