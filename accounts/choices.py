"""Words of accounts that other apps use too."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Profile(models.TextChoices):
    """How the accounts of a group trade; flags, endpoints and columns of the API follow from it."""

    FX_NETTING = "fx_netting", _("FX/CFD, netting")
    FX_HEDGING = "fx_hedging", _("FX/CFD, hedging")
    SPOT = "spot", _("Crypto spot")
    PERPETUAL = "perpetual", _("Crypto derivatives")
    EXCHANGE = "exchange", _("Stocks and futures")

    @property
    def has_positions(self) -> bool:
        return self is not Profile.SPOT

    @property
    def has_position_brackets(self) -> bool:
        """Whether brackets go over from the order to its position; a spot order's pair has none to go to (BRK-13)."""
        return self.has_positions

    @property
    def is_hedging(self) -> bool:
        return self is Profile.FX_HEDGING


class AccountState(models.TextChoices):
    """Each is stricter than the one before it."""

    ACTIVE = "active", _("Active")
    CLOSE_ONLY = "close_only", _("Close only")
    NO_TRADING = "no_trading", _("No trading")
    BLOCKED = "blocked", _("Blocked")
    CLOSED = "closed", _("Closed")


class AccountEventKind(models.TextChoices):
    OPENED = "opened", _("Opened")
    STATE = "state", _("State changed")


class KycState(models.TextChoices):
    """How far the client's identity is known."""

    NONE = "none", _("Nothing asked yet")
    PENDING = "pending", _("Papers are being checked")
    VERIFIED = "verified", _("Verified")
    REJECTED = "rejected", _("Rejected")
    EXPIRED = "expired", _("Papers have expired")


class AccountType(models.TextChoices):
    """Shown beside the account's name (ACC-2)."""

    LIVE = "live", _("Live")
    DEMO = "demo", _("Demo")


class CommissionKind(models.TextChoices):
    NONE = "none", _("None")
    PER_MILLION = "per_million", _("Per million of turnover")
    PERCENT = "percent", _("Percent of turnover")
    PER_UNIT = "per_unit", _("Per share or contract")
    PER_LOT = "per_lot", _("Per lot")


class FeeAsset(models.TextChoices):
    """What a spot account pays its commission in."""

    QUOTE = "quote", _("Quote asset")
    RECEIVED = "received", _("Received asset")


class ConditionsState(models.TextChoices):
    DRAFT = "draft", _("Draft")
    APPROVED = "approved", _("Approved")


class LedgerKind(models.TextChoices):
    """Whose money a ledger account holds. The house has accounts too, so every leg has its opposite."""

    CLIENT = "client", _("Client's money")
    HOUSE_CASH = "house_cash", _("House: bank and custody")
    HOUSE_TRADING = "house_trading", _("House: trading result")
    HOUSE_COMMISSION = "house_commission", _("House: commission")
    HOUSE_FINANCING = "house_financing", _("House: swaps and funding")
    HOUSE_PROTECTION = "house_protection", _("House: negative balances made good")
    HOUSE_PENDING = "house_pending", _("House: money on its way")
    HOUSE_ADJUSTMENT = "house_adjustment", _("House: credits and adjustments")


class TransferKind(models.TextChoices):
    DEPOSIT = "deposit", _("Deposit")
    WITHDRAWAL = "withdrawal", _("Withdrawal")
    REALIZED_PL = "realized_pl", _("Realized profit or loss")
    EXCHANGE = "exchange", _("Exchange of assets")
    COMMISSION = "commission", _("Commission")
    SWAP = "swap", _("Swap")
    FUNDING = "funding", _("Funding")
    NEGATIVE_BALANCE = "negative_balance", _("Negative balance correction")
    HOLD = "hold", _("Set aside for a request")
    RETURN = "return", _("Given back from a request")
    CREDIT = "credit", _("Credit")
    ADJUSTMENT = "adjustment", _("Adjustment")
    BETWEEN_ACCOUNTS = "between_accounts", _("Transfer between accounts")


class EnvironmentPair(models.TextChoices):
    """TradingView's environment and ours that it works with (ENV-1)."""

    LOCALHOST_STAGING = "localhost-staging", _("localhost → staging")
    STAGING_STAGING = "staging-staging", _("staging → staging")
    PRODUCTION_STAGING = "production-staging", _("production → staging")
    LOCALHOST_PRODUCTION = "localhost-production", _("localhost → production")
    STAGING_PRODUCTION = "staging-production", _("staging → production")
    PRODUCTION_PRODUCTION = "production-production", _("production → production")

    @property
    def tradingview(self) -> str:
        return self.value.partition("-")[0]

    @property
    def broker(self) -> str:
        """Which of our environments: staging or production, as `settings.ENVIRONMENT` says it."""
        return self.value.partition("-")[2]


class RenewalKind(models.TextChoices):
    """What a renewal token is for: TradingView's server holds the one, the user's browser the other."""

    REFRESH = "refresh", _("Refresh token")
    COOKIE = "cookie", _("Browser login")  # renews tokens of the implicit flow in a hidden frame (AUTH-22)
