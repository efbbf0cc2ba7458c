"""The one place that makes HTTP clients: proxies of the environment are for other machines."""

from __future__ import annotations

import ipaddress
from typing import Any

import httpx

from features.errors import BadInput


def http_client(url: str, **options: Any) -> httpx.Client:
    """A client of the service at `url`. Through the proxy that the environment names, unless the service is on this machine.

    BadInput when the proxy is of a kind that cannot be used, or the URL none.
    """
    try:
        return httpx.Client(base_url=url, trust_env=not is_loopback(url), **options)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise BadInput(
            f"{url} cannot be asked with these proxy settings ({error}); "
            "name an http:// proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or exclude the address with NO_PROXY."
        ) from error


def is_loopback(url: str) -> bool:
    """Whether `url` stays on this machine."""
    host = httpx.URL(url).host.rstrip(".")
    try:
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None) or address
        return mapped.is_loopback or mapped.is_unspecified  # 0.0.0.0 is what a server is told to listen on
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
