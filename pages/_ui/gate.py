"""The gate before everything the dashboard serves, where signing in is set up: nobody passes who is not on a list.

Streamlit's ``st.login`` decides what a script shows; images, downloads, uploads and the websocket have no check of
their own. The gate is a middleware around the whole server. What is not named as open is closed, so a route that a
later Streamlit adds is closed, too.

Who somebody is, is read from the cookie that Streamlit signs at the end of a sign-in. On the websocket the gate tells
the scripts in a header that it signs itself; so a script knows that there is a gate, and shows nothing without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from streamlit.user_info import generate_login_redirect_url
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from pages._ui import signed
from vlmad_core.access import Access, read_access
from vlmad_core.errors import AccessError
from vlmad_core.templates import render

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Message, Receive, Send], Awaitable[None]]

SIGN_IN, SIGN_OUT = "/sign-in", "/auth/logout"
OPEN = frozenset({SIGN_IN, SIGN_OUT, "/auth/login", "/oauth2callback", "/_stcore/health", "/favicon.png"})
"""What anybody may ask for: the way in and out, and whether the server is alive. And the shell's own files:"""
OPEN_FOLDER = "/static/"

NOT_SIGNED_IN = "Sign in to see this dashboard."
"""The sentence for whoever has no valid cookie; why it is not valid is nobody's business."""


def access() -> Access | None:
    """How signing in is set up; None where it is not.

    Raises:
        AccessError: If it is set up in part or unsafely, or ``secrets.toml`` can't be read.
    """
    section = None
    try:
        loaded = st.secrets.load_if_toml_exists()
    except OSError as error:
        raise AccessError(f"secrets.toml can't be read: {error.strerror}.", "May the dashboard's user?") from error
    if loaded:
        section = st.secrets.get("auth")
        if section is not None and not isinstance(section, Mapping):
            raise AccessError("auth in secrets.toml is no table.", "Write [auth] on a line of its own.")
    elif unreadable := _unreadable_secrets():
        # Streamlit takes such a file for none, which would open the dashboard.
        raise AccessError(f"{unreadable} can't be read.", "Mend it: is it TOML, and may the dashboard's user read it?")
    return read_access(section)


def middleware() -> list[Middleware]:
    """What to put around the server: the gate, or nothing where signing in is not set up.

    Raises:
        AccessError: If it is set up in part, or a check of Streamlit that it builds on is switched off.
    """
    found = access()
    if found is None:
        return []
    for option in ("server.enableCORS", "server.enableXsrfProtection"):
        if not st.get_option(option):
            raise AccessError(f"{option} is off, but there is a table [auth] in secrets.toml.", "Leave it on.")
    return [Middleware(Gate, access=found, base=st.get_option("server.baseUrlPath") or "")]


class Gate:
    """An ASGI middleware that lets through who is on a list, and what is open to all.

    Args:
        app: What lies behind it.
        access: How signing in is set up.
        base: Streamlit's ``server.baseUrlPath``.
    """

    def __init__(self, app: AsgiApp, access: Access, base: str = "") -> None:
        self._app = app
        self._access = access
        self._base = f"/{base.strip('/')}".rstrip("/")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request or websocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        path = str(scope["path"]).removeprefix(self._base) or "/"
        if not is_host_allowed(asked.headers.get("host")) and path != "/_stcore/health":
            await _refuse(scope, receive, send, PlainTextResponse("This host is not served here.", 400))
        elif scope["type"] == "http" and path == SIGN_IN:
            await self._begin(asked)(scope, receive, send)
        elif scope["type"] == "http" and (path in OPEN or path.startswith(OPEN_FOLDER)):
            await self._app(scope, receive, self._sealed(send))
        else:
            await self._let_in(asked, scope, receive, send)

    async def _let_in(self, asked: HTTPConnection, scope: Message, receive: Receive, send: Send) -> None:
        """Serve whoever is on a list."""
        claims = signed.read_claims(asked.cookies, self._access.cookie_secret)
        if claims is None:
            await _refuse(scope, receive, send, self._say(asked, 401, NOT_SIGNED_IN))
            return
        try:
            visitor = self._access.admit(claims)
        except AccessError as error:
            await _refuse(scope, receive, send, self._say(asked, 403, str(error)))
            return
        until = float(claims["until"])
        told_so = signed.told(visitor, until, self._access.cookie_secret)
        headers = [(name, value) for name, value in scope["headers"] if name.lower() != signed.HEADER.encode()]
        told = {**scope, "headers": [*headers, (signed.HEADER.encode(), told_so.encode())]}
        if scope["type"] == "http":
            await self._app(told, receive, self._sealed(send, private=True))
            return
        with suppress(TimeoutError):  # a websocket ends with the sign-in, whatever goes on in it
            async with asyncio.timeout(until - time.time()):
                await self._app(told, receive, send)

    def _begin(self, asked: HTTPConnection) -> Response:
        """Send a browser to the provider, as ``st.login`` does."""
        provider = asked.query_params.get("provider", self._access.providers[0])
        if provider not in self._access.providers:
            return self._say(asked, 404, "There is no such provider.")
        return RedirectResponse(generate_login_redirect_url(provider), headers={"cache-control": "no-store"})

    def _say(self, asked: HTTPConnection, status: int, sentence: str) -> Response:
        """A sentence: as a page for who asked for one, else as text."""
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", "x-frame-options": "DENY"}
        if "text/html" not in asked.headers.get("accept", ""):
            return PlainTextResponse(sentence, status, headers)
        ways = [
            ("Sign in" if name == "default" else f"Sign in with {name}", f"{self._base}{SIGN_IN}?provider={name}")
            for name in self._access.providers
        ]
        if status == 403:
            ways = [("Sign out", f"{self._base}{SIGN_OUT}")]
        return HTMLResponse(render("sign_in.html.j2", title="VLM-AD", sentence=sentence, ways=ways), status, headers)

    def _sealed(self, send: Send, *, private: bool = False) -> Send:
        """Cookies only over TLS where the dashboard is reached so; what was let in is kept by no cache that others use.

        Streamlit sets no ``Secure``, since behind a proxy it does not know.
        """
        secure = self._access.origin.startswith("https:")

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    (name, value + b"; Secure" if secure and name.lower() == b"set-cookie" else value)
                    for name, value in message["headers"]
                ]
                if private and b"cache-control" not in {name.lower() for name, _ in headers}:
                    headers.append((b"cache-control", b"private"))
                message = {**message, "headers": headers}
            await send(message)

        return sealed


async def _refuse(scope: Message, receive: Receive, send: Send, answer: Response) -> None:
    """Answer a request; a websocket is closed before it is accepted, which the caller sees as 403."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await answer(scope, receive, send)


def _unreadable_secrets() -> str | None:
    """A secrets file or folder that is there although Streamlit reads none."""
    return next((str(path) for path in st.get_option("secrets.files") if Path(path).exists()), None)
