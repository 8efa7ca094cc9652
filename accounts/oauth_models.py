"""OAuth clients of the six environment pairs, and what they hold: secrets, codes, renewal tokens, used assertions.

Of everything secret only a SHA-256 is kept. All of it is random with 256 bits, so no slow hash is needed.
"""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts import certificates, origins, redirects
from accounts.choices import EnvironmentPair, RenewalKind

LONGEST_TOKEN_SECONDS = 2_147_483  # AUTH-26
SHA256_HEX = 64


class OAuthClientQuerySet(models.QuerySet["OAuthClient"]):
    def here(self) -> OAuthClientQuerySet:
        """Those that work with this environment of ours; with a developer's machine all do."""
        if settings.IS_LOCAL:
            return self.filter(is_active=True)
        here = [pair for pair in EnvironmentPair if pair.broker == settings.ENVIRONMENT]
        return self.filter(is_active=True, pair__in=here)


class OAuthClient(models.Model):
    """One of TradingView's environments with one of ours: an id and secrets of its own (AUTH-10, ENV-1)."""

    pair = models.CharField(_("environments"), max_length=32, choices=EnvironmentPair, unique=True)
    client_id = models.CharField(
        _("client id"),
        max_length=100,
        unique=True,
        validators=[RegexValidator(r"^[!-~]+\Z", _("Use letters, digits and signs, without spaces."))],
    )
    is_active = models.BooleanField(_("active"), default=True, help_text=_("Switched off, its tokens end at once."))
    code_flow = models.BooleanField(_("code flow"), default=True)
    implicit_flow = models.BooleanField(
        _("implicit flow"), default=False, help_text=_("It is being withdrawn: only where TradingView asks for it.")
    )
    redirect_uris = ArrayField(
        models.CharField(max_length=500, validators=[redirects.validate]),
        verbose_name=_("redirect addresses"),
        blank=True,
        default=list,
        help_text=_("Compared character by character. Separate several by commas."),
    )
    origins = ArrayField(
        models.CharField(max_length=200, validators=[origins.validate]),
        verbose_name=_("origins"),
        blank=True,
        default=list,
        help_text=_("Where its pages come from, like https://*.tradingview.com. Separate several by commas."),
    )
    scopes = models.CharField(
        _("scopes"), max_length=200, blank=True, default="general", help_text=_("As agreed, separated by spaces.")
    )
    token_seconds = models.PositiveIntegerField(
        _("lifetime of a token, in seconds"),
        default=30 * 60,
        validators=[MinValueValidator(60), MaxValueValidator(LONGEST_TOKEN_SECONDS)],
        help_text=_("TradingView advises 15 to 30 minutes."),
    )
    renewal_seconds = models.PositiveIntegerField(
        _("lifetime of a refresh token, in seconds"),
        default=30 * 86400,
        validators=[MinValueValidator(60), MaxValueValidator(366 * 86400)],
        help_text=_("Each renewal begins it anew."),
    )
    certificate = models.TextField(
        _("certificate"),
        blank=True,
        validators=[certificates.validate],
        help_text=_("X.509, as PEM. TradingView's data servers sign with its key; without it they get no token."),
    )
    data_users = models.ManyToManyField(
        settings.AUTH_USER_MODEL,
        blank=True,
        related_name="oauth_clients",
        limit_choices_to={"is_data_client": True},
        verbose_name=_("data servers' logins"),
    )
    assertion_issuer = models.CharField(
        _("issuer"), max_length=200, blank=True, help_text=_("What the claim iss must be; empty: the client id.")
    )
    assertion_audience = models.CharField(
        _("audience"),
        max_length=500,
        blank=True,
        help_text=_("What aud must be; empty: the address of our token page."),
    )
    assertion_user_claim = models.CharField(
        _("claim with the login"), max_length=100, default="sub", help_text=_("Which claim names the data server.")
    )
    assertion_claims = models.JSONField(
        _("further claims"), blank=True, default=dict, help_text=_('Claims that must be there, like {"spurl": "…"}.')
    )
    assertion_needs_secret = models.BooleanField(_("secret needed beside the assertion"), default=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True, editable=False)

    objects = OAuthClientQuerySet.as_manager()

    class Meta:
        verbose_name = _("OAuth client")
        verbose_name_plural = _("OAuth clients")
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(token_seconds__gte=60, token_seconds__lte=LONGEST_TOKEN_SECONDS),
                name="token_lifetime_of_the_contract",
            )
        ]

    def __str__(self) -> str:
        return self.client_id


class ClientSecret(models.Model):
    """A secret of a client. During a rotation two work: the new one, and the old one to the end of the overlap."""

    client = models.ForeignKey(OAuthClient, models.CASCADE, related_name="secrets", verbose_name=_("client"))
    digest = models.CharField(_("SHA-256"), max_length=SHA256_HEX, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)

    class Meta:
        verbose_name = _("client secret")
        verbose_name_plural = _("client secrets")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.client} {self.digest[:8]}…"


class AuthorizationCode(models.Model):
    """What a login in the code flow ends with: used once, within a minute, by that client (AUTH-16)."""

    client = models.ForeignKey(OAuthClient, models.CASCADE, related_name="+", verbose_name=_("client"))
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("user"))
    digest = models.CharField(max_length=SHA256_HEX, unique=True)
    family = models.UUIDField(default=uuid4)  # of the tokens it is exchanged for
    redirect_uri = models.CharField(max_length=500)
    challenge = models.CharField(max_length=128, blank=True)  # PKCE, RFC 7636
    challenge_method = models.CharField(max_length=8, blank=True)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("authorization code")
        verbose_name_plural = _("authorization codes")

    def __str__(self) -> str:
        return f"{self.client} {self.digest[:8]}…"


class RenewalToken(models.Model):
    """What new access tokens are had for, without the password.

    `family` is one login with all its renewals. A renewal gives a new token in place of the one it `replaces`, which
    goes on working until the new one, or the access token that came with it, is used: then it is `confirmed_at`, and
    the old one ends (AUTH-25).
    """

    kind = models.CharField(_("kind"), max_length=16, choices=RenewalKind, default=RenewalKind.REFRESH)
    client = models.ForeignKey(OAuthClient, models.CASCADE, related_name="renewals", verbose_name=_("client"))
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="renewals", verbose_name=_("user"))
    family = models.UUIDField(_("login"), db_index=True)
    digest = models.CharField(_("SHA-256"), max_length=SHA256_HEX, unique=True, editable=False)
    replaces = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="replacements", verbose_name=_("replaces")
    )
    created_at = models.DateTimeField(_("created"), db_default=Now())
    expires_at = models.DateTimeField(_("expires"), db_index=True)
    confirmed_at = models.DateTimeField(_("first used"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        verbose_name = _("renewal token")
        verbose_name_plural = _("renewal tokens")
        permissions = [("revoke_renewaltoken", _("Can end renewal tokens"))]

    def __str__(self) -> str:
        return f"{self.user} {self.digest[:8]}…"


class UsedAssertion(models.Model):
    """An assertion that was exchanged for a token, so that nobody exchanges it again (RFC 7523, jti)."""

    client = models.ForeignKey(OAuthClient, models.CASCADE, related_name="+", verbose_name=_("client"))
    digest = models.CharField(max_length=SHA256_HEX)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = _("used assertion")
        verbose_name_plural = _("used assertions")
        constraints = [models.UniqueConstraint(fields=["client", "digest"], name="assertion_used_once")]

    def __str__(self) -> str:
        return f"{self.client} {self.digest[:8]}…"
