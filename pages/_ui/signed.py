"""Who somebody is, as it is signed: Streamlit's cookie of a sign-in, and the gate's own header for the scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

from vlmad_core.access import HOURS, Access, Visitor
from vlmad_core.errors import AccessError

HEADER = "x-vlmad-visitor"


def read_claims(cookies: Mapping[str, str], secret: str) -> dict[str, Any] | None:
    """What a provider said of somebody, from the cookie that Streamlit signed; with ``until``, the end in Unix seconds.

    Args:
        cookies: The request's cookies.
        secret: What they are signed with.

    Returns:
        None where there is no such cookie, its signature is wrong, or it is too old. Nor is one taken that was divided
        over several cookies, as Streamlit does above 4 KB: pieces of two sign-ins could be put together.
    """
    try:
        written, signed_at = signer(secret, USER_COOKIE_NAME).loads(
            cookies.get(USER_COOKIE_NAME, ""), return_timestamp=True
        )
        claims = json.loads(written)
    except (BadData, TypeError, ValueError):
        return None
    until = signed_at.timestamp() + 3600 * HOURS
    return {**claims, "until": until} if isinstance(claims, dict) and time.time() < until else None


def told_visitor(value: str | None, access: Access) -> Visitor:
    """Who looks, from the gate's own header.

    Args:
        value: The header; None where there is none.
        access: How signing in is set up.

    Raises:
        AccessError: If there is none, which is how it is without the gate; if it is forged, or has ended.
    """
    if value is None:
        raise AccessError(
            "Signing in is set up, but this dashboard was started without the gate that checks it.",
            "Start it with: python -m vlmad_core app",
        )
    try:
        found = signer(access.cookie_secret, HEADER).loads(value)
    except BadData:
        found = None
    if not isinstance(found, dict) or found["until"] <= time.time():
        raise AccessError("This sign-in has ended.", "Load the page again and sign in.")
    return access.visitor(found["address"])


def told(visitor: Visitor, until: float, secret: str) -> str:
    """The header that says who looks, until a time in Unix seconds."""
    return str(signer(secret, HEADER).dumps({"address": visitor.address, "until": until}))


def signer(secret: str, name: str) -> URLSafeTimedSerializer:
    """What signs a cookie or header, in the way in which Streamlit signs cookies: each name has its own key."""
    return URLSafeTimedSerializer(secret, salt=name)
