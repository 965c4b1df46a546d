"""URLs: where credentials may be sent, and which links of a service are followed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from string import Formatter
from urllib.parse import SplitResult, parse_qsl, quote, urljoin, urlsplit

from textlift.errors import ConfigurationError, ServiceError

_PORTS = {"http": 80, "https": 443}


def check_base_url(base_url: str) -> str:
    """Return ``base_url`` with one trailing slash, if credentials may be sent there.

    Raises:
        ConfigurationError: It is not a URL, or plain http to another machine.
    """
    if "@" in base_url or "\\" in base_url:
        raise ConfigurationError(
            "base_url holds a login, or a character that no URL has.\n"
            "Write it as https://host/path/; logins go into credentials."
        )
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(
            f"base_url is not a URL: {base_url!r}\nWrite it with its scheme, https://…"
        )
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url would send credentials over plain http to {host}.\n"
            "Use https; plain http is for this machine only (127.0.0.1, localhost, [::1])."
        )
    return base_url.rstrip("/") + "/"


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fill_path(path: str, params: Mapping[str, str]) -> tuple[str, Sequence[str], Mapping[str, str]]:
    """Return a path with its parameters, their values in order, and the other parameters.

    Args:
        path: A path that names parameters, such as ``groups/{group_id}/members``.
        params: The values of these and of other parameters.
    """
    names = [name for _, name, _, _ in Formatter().parse(path) if name]
    filled = path.format(**{name: quote(params[name], safe="") for name in names})
    others = {name: value for name, value in params.items() if name not in names}
    return filled, [params[name] for name in names], others


def link_params(url: str, link: str) -> dict[str, str]:
    """Return the query parameters of the next link in the response to a request for ``url``.

    Only the parameters are used: the next request goes to ``url`` again, and so do the credentials.

    Args:
        url: The URL requested, without its query.
        link: The next URL as the service prints it, absolute or relative.

    Raises:
        ServiceError: The link has another scheme, host, port or path.
    """
    try:
        # Half a surrogate pair cannot be sent.
        link.encode()
        there, here = urlsplit(urljoin(url, link)), urlsplit(url)
        same = _origin(there) == _origin(here) and "@" not in there.netloc
        params = dict(parse_qsl(there.query, keep_blank_values=True))
    except ValueError:
        raise ServiceError("the service names a next page that is not a URL") from None
    if not same:
        raise ServiceError(
            f"the service names a next page at {there.scheme}://{there.hostname or ''}; it is "
            "not followed, because credentials are sent to base_url only. Check base_url."
        )
    if there.path != here.path:
        raise ServiceError(
            "the service names a next page under another path; it is not followed, because "
            "it belongs to another request"
        )
    return params


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port. Raises ValueError if host or port are malformed."""
    if "[" in parts.netloc and ":" not in (parts.hostname or ""):
        # Python 3.10 accepts brackets around anything.
        raise ValueError
    port = _PORTS.get(parts.scheme) if parts.port is None else parts.port
    return parts.scheme, parts.hostname, port
