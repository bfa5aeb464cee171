"""Who may use a dashboard that others can reach: how signing in must be set up, the allow-list, and the two roles.

Signing in itself is Streamlit's (OIDC); the dashboard's gate asks here what the signed claims of a visitor are worth.
All of it is off until there is a table ``[auth]`` in ``secrets.toml`` or one of the lists in the environment.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from vlmad_core import paths
from vlmad_core.errors import AccessError

HOURS = 12
"""How long a sign-in is good for; the provider is then asked again."""

SHORTEST_SECRET, FEWEST_CHARACTERS = 32, 8
"""A cookie secret's least length, and how many different characters it needs at least."""

MAKE_ONE = 'Make one: python -c "import secrets; print(secrets.token_hex(32))".'
_NEEDED = ("client_id", "client_secret", "server_metadata_url")
_DOMAIN = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+"
_ADDRESS = re.compile(rf"[^@\s,;\"'<>()\\]{{1,64}}@{_DOMAIN}")


class Role(StrEnum):
    """What somebody may do: look, or also change what all share."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True)
class Visitor:
    """Somebody who is signed in and on a list.

    Attributes:
        address: E-mail address, in small letters.
        role: What he may do.
    """

    address: str
    role: Role


@dataclass(frozen=True)
class Access:
    """How signing in is set up.

    Attributes:
        viewers: Addresses, and domains with an ``@`` before them, of those who may look.
        operators: The same of those who may also change things.
        origin: Scheme, host and port under which browsers reach the dashboard.
        providers: Names of the OIDC providers, as Streamlit has them.
        unverified: Whether an address counts of which the provider does not say that it verified it.
        cookie_secret: Signs the cookies; never shown.
    """

    viewers: tuple[str, ...]
    operators: tuple[str, ...]
    origin: str
    providers: tuple[str, ...]
    unverified: bool = False
    cookie_secret: str = field(repr=False, default="")

    def visitor(self, address: str) -> Visitor:
        """Who an address belongs to; an operator is a viewer, too.

        Raises:
            AccessError: If it is on no list.
        """
        domain = "".join(address.rpartition("@")[1:])
        for role, entries in ((Role.OPERATOR, self.operators), (Role.VIEWER, self.viewers)):
            if address in entries or domain in entries:
                return Visitor(address, role)
        raise AccessError(
            f"{address} is not on the list of those who may use this dashboard.",
            "Ask whoever runs it, or sign in with another account.",
        )

    def admit(self, claims: Mapping[str, Any]) -> Visitor:
        """Who somebody is by what his provider says, which must have been read from a signed cookie.

        Args:
            claims: The claims of the id token, with ``origin`` and ``is_logged_in`` as Streamlit adds them.

        Raises:
            AccessError: If they name nobody who is on a list; says why.
        """
        if claims.get("is_logged_in") is not True or claims.get("origin") != self.origin:
            raise AccessError("This sign-in was made for another address of the dashboard.", "Sign in again.")
        given = claims.get("email")
        # Other alphabets have letters that become one of these in small letters.
        address = given.strip().lower() if isinstance(given, str) and given.isascii() else ""
        if not _ADDRESS.fullmatch(address):
            raise AccessError(
                "The provider gives no e-mail address for this account.", "Let it send the claim email (scope email)."
            )
        verified = claims.get("email_verified")
        if verified is not True and verified != "true" and not (verified is None and self.unverified):
            raise AccessError(
                f"The provider does not say that {address} is verified.",
                "Verify it there. Where it verifies all addresses and does not say so, whoever runs the dashboard can "
                f"set {paths.UNVERIFIED}=1.",
            )
        return self.visitor(address)


def read_access(section: Mapping[str, Any] | None) -> Access | None:
    """How signing in is set up; None where it is not, and the dashboard is as open as its address.

    Args:
        section: The table ``[auth]`` of ``secrets.toml``; None where there is none.

    Raises:
        AccessError: If it is set up in part, or unsafely. No secret is ever part of the message.
    """
    viewers, operators, unverified = paths.allow_lists()
    if section is None and not viewers and not operators:
        return None
    if section is None:
        raise AccessError(
            f"{paths.VIEWERS} or {paths.OPERATORS} is set, but there is no table [auth] in .streamlit/secrets.toml.",
            "Write one (docs/deploy.md), or unset them.",
        )
    if not viewers and not operators:
        raise AccessError(
            "There is a table [auth] in secrets.toml, but nobody is on a list.",
            f"Name addresses or domains in {paths.VIEWERS} and {paths.OPERATORS}.",
        )
    if missing := [name for name in ("authlib", "httpx") if importlib.util.find_spec(name) is None]:
        raise AccessError(f"Signing in needs {' and '.join(missing)}.", f"Run: {paths.how_to_install('auth')}")
    return Access(
        _entries(paths.VIEWERS, viewers),
        _entries(paths.OPERATORS, operators),
        _origin(section),
        _providers(section),
        unverified,
        _cookie_secret(section),
    )


def _entries(variable: str, written: str) -> tuple[str, ...]:
    """The entries of a list: ``ann@example.com`` is an address, ``example.org`` and ``@example.org`` are domains."""
    entries = [entry for entry in re.split(r"[\s,;]+", written.lower()) if entry]
    for entry in entries:
        if not (_ADDRESS.fullmatch(entry) or re.fullmatch(f"@?{_DOMAIN}", entry)):
            raise AccessError(
                f"{variable} has an entry that is neither an address nor a domain: {entry[:80]!r}.",
                "Write them as in: ann@example.com, example.org.",
            )
    return tuple(entry if "@" in entry else f"@{entry}" for entry in entries)


def _origin(section: Mapping[str, Any]) -> str:
    """Scheme and host of the address that the provider sends browsers back to."""
    given = str(section.get("redirect_uri", ""))
    parts = urlsplit(given)
    if not parts.hostname or parts.scheme not in ("http", "https") or not parts.path.endswith("/oauth2callback"):
        raise AccessError(
            "redirect_uri in [auth] of secrets.toml is missing, or is no address that ends with /oauth2callback.",
            "Write as it is reached from outside: https://vlmad.example.com/oauth2callback.",
        )
    if "{" in given:
        raise AccessError("redirect_uri in [auth] has a placeholder.", "Write the port itself.")
    if parts.scheme == "http" and not _loopback(parts.hostname):
        raise AccessError(
            f"redirect_uri in [auth] is plain http on {parts.hostname}: cookies would travel readable.",
            "Put TLS before the dashboard (docs/deploy.md) and write https.",
        )
    return f"{parts.scheme}://{parts.netloc}"


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _providers(section: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the providers: ``default`` for the one in ``[auth]`` itself, then those of its tables."""
    tables = {name: value for name, value in section.items() if isinstance(value, Mapping) and "client_id" in value}
    if "client_id" in section:
        tables = {"default": section, **tables}
    if not tables:
        raise AccessError("[auth] of secrets.toml names no provider.", f"Write {', '.join(_NEEDED)}.")
    for name, table in tables.items():
        missing = [key for key in _NEEDED if not str(table.get(key) or "").strip()]
        if missing:
            raise AccessError(f"The provider {name} in secrets.toml lacks {', '.join(missing)}.", "Write them there.")
        if "_" in name:
            raise AccessError(f"The provider's name {name} has an underscore.", "Name it without.")
    return tuple(tables)


def _cookie_secret(section: Mapping[str, Any]) -> str:
    """The secret that cookies are signed with."""
    secret = section.get("cookie_secret")
    if not isinstance(secret, str) or not secret:
        raise AccessError("cookie_secret is missing in [auth] of secrets.toml.", MAKE_ONE)
    if len(secret) < SHORTEST_SECRET or len(set(secret)) < FEWEST_CHARACTERS:
        raise AccessError(
            f"cookie_secret in [auth] of secrets.toml can be guessed: it needs {SHORTEST_SECRET} characters, not all "
            "alike.",
            MAKE_ONE,
        )
    return secret
