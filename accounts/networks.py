"""Where requests come from, and who may come from where."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.models import User

_network = cache(ipaddress.ip_network)  # those of the settings, asked about with every request


def address_of(peer: str, forwarded_for: str) -> str:
    """The client's address: what the outermost of our own proxies saw, and without proxies the connection's peer.

    What stands further left in X-Forwarded-For was written by the client himself.
    """
    hops = [hop.strip() for hop in forwarded_for.split(",") if hop.strip()]
    proxies: int = settings.TRUSTED_PROXIES
    return hops[-proxies] if 0 < proxies <= len(hops) else peer


def address_of_request(request: HttpRequest) -> str:
    return address_of(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def address_of_scope(scope: Mapping[str, Any]) -> str:
    """The same of a request that is not Django's (ASGI)."""
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    return address_of((scope.get("client") or ("",))[0], ",".join(forwarded))


def is_inside(address: str, networks: Iterable[str]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in _network(network) for network in networks)


def may_serve_data(request: HttpRequest, user: User) -> bool:
    """Whether the login may be used from there: data servers have their networks, where any are named."""
    return address_may_serve_data(address_of_request(request), user)


def address_may_serve_data(address: str, user: User) -> bool:
    allowed: list[str] = settings.DATA_SERVER_NETWORKS
    return not (user.is_data_client and allowed) or is_inside(address, allowed)
