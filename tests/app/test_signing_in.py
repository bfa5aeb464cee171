"""Signing in against an OIDC server on loopback: who is let in, and what is closed to everybody else."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import streamlit as st
from itsdangerous import URLSafeTimedSerializer
from oidc_provider_mock import User, run_server_in_thread
from starlette.responses import Response
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from pages._ui import gate
from pages._ui.gate import Gate
from pages._ui.signed import HEADER, signer
from vlmad_core.access import HOURS, Access
from vlmad_core.bench.serving import free_port
from vlmad_core.dashboard import server_command
from vlmad_core.errors import AccessError

# The provider is written for an older Authlib.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SECRET, CLIENT_SECRET = "3f1c9a7be25d48608f1c9a7be25d4860", "planted-client-secret-77d1"
COOKIE = "_streamlit_user"
CHROMIUM = Path("/usr/bin/chromium")
PEOPLE = {
    "ann": {"email": "Ann@Example.com", "email_verified": True},
    "bob": {"email": "bob@lab.example.org", "email_verified": True},
    "eve": {"email": "eve@elsewhere.example", "email_verified": True},
    "mallory": {"email": "ann@example.com", "email_verified": False},
    "long": {"email": "ann@example.com", "email_verified": True, "nickname": "".join(map(chr, range(256, 3256)))},
}
CLOSED = (
    "/", "/your_parts", "/index.html", "/media/0123456789abcdef.png", "/_stcore/host-config", "/_stcore/metrics",
    "/_stcore/script-health-check", "/_stcore/upload_file/session/file", "/component/any/index.html",
    "/_stcore/bidi-components/any.js", "/_stcore/agent/openapi.json", "/app/static/any.png", "/what/comes/later",
    "//media/0123456789abcdef.png", "/Media/0123456789abcdef.png", "/%6dedia/0123456789abcdef.png",
    "/_stcore/health/../metrics", "/static", "/STATIC/x",
)  # fmt: skip


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """An OIDC provider with the people above."""
    people = [User(sub=name, claims=claims) for name, claims in PEOPLE.items()]
    with run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


def written_secrets(home: Path, address: str, provider: str, **more: str) -> None:
    """Streamlit's file of secrets in a home folder."""
    values = {
        "redirect_uri": f"{address}/oauth2callback", "cookie_secret": SECRET, "client_id": "vlmad",
        "client_secret": CLIENT_SECRET, "server_metadata_url": f"{provider}/.well-known/openid-configuration",
    } | more  # fmt: skip
    (home / ".streamlit").mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (home / ".streamlit" / "secrets.toml").write_text("\n".join(["[auth]", *lines]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of whoever runs the dashboard."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def site(app_server: ModuleType, provider: str, home: Path, measured: Path) -> Iterator[str]:
    """The dashboard as ``vlmad app`` starts it, with signing in set up; its address."""
    port = free_port()
    written_secrets(home, f"http://127.0.0.1:{port}", provider)
    extra = {
        "HOME": str(home), "VLMAD_OPERATORS": "ann@example.com", "VLMAD_VIEWERS": "lab.example.org",
        "VLMAD_WORKSPACE": str(home / "workspace"),
    }  # fmt: skip
    process, address = app_server.start_server(measured, extra, port=port, log=home / "server.log")
    yield address
    app_server.stop_server(process)


SignIn = Callable[[str], httpx.Client]


@pytest.fixture
def sign_in(site: str, provider: str) -> Iterator[SignIn]:
    """A function that signs somebody in as a browser would; a client with his cookies."""
    clients = []

    def signed_in(name: str) -> httpx.Client:
        client = httpx.Client(base_url=site, follow_redirects=True, timeout=60, trust_env=False)
        clients.append(client)
        form = client.get("/sign-in")
        assert urlsplit(str(form.url)).netloc == urlsplit(provider).netloc
        client.post(form.url, data={"sub": name})
        return client

    yield signed_in
    for client in clients:
        client.close()


def asked(site: str, path: str, *, cookie: str | None = None, method: str = "GET") -> int:
    """The status of a request; the path is sent as it is written, not tidied."""
    server = HTTPConnection(urlsplit(site).netloc, timeout=60)
    server.request(method, path, headers={"Cookie": f"{COOKIE}={cookie}"} if cookie else {})
    with closing(server):
        return server.getresponse().status


def opened(site: str, **headers: str) -> int:
    """The status of an attempt to open the websocket: 101 where it opens."""
    address = f"{site.replace('http', 'ws')}/_stcore/stream"
    more = {"Origin": site} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with connect(address, additional_headers=more, proxy=None, open_timeout=60):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def signed(claims: Any, *, secret: str = SECRET, name: str = COOKIE) -> str:
    """A cookie as Streamlit signs one."""
    return str(URLSafeTimedSerializer(secret, salt=name).dumps(claims))


def claims_of(site: str, **more: object) -> str:
    return json.dumps({"email": "ann@example.com", "email_verified": True, "origin": site, "is_logged_in": True} | more)


def signed_before(seconds: float, site: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A cookie of an operator that was signed so long ago."""
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda now=time.time: now() - seconds)
        return signed(claims_of(site))


def test_without_a_cookie_all_is_closed_but_the_way_in_and_the_health_check(site: str) -> None:
    assert {path: asked(site, path) for path in CLOSED} == dict.fromkeys(CLOSED, 401)
    for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        assert asked(site, "/media/0123456789abcdef.png", method=method) == 401
    assert asked(site, "/_stcore/health") == 200
    assert asked(site, "/favicon.png") == 200
    assert asked(site, "/static/../media/0123456789abcdef.png") in (400, 404)
    page = httpx.get(site, headers={"Accept": "text/html"}, trust_env=False)
    assert page.status_code == 401
    assert 'href="/sign-in?provider=default"' in page.text
    assert page.headers["cache-control"] == "no-store"


def test_an_upload_and_a_websocket_without_a_cookie_are_refused(site: str) -> None:
    assert asked(site, "/_stcore/upload_file/session/file", method="PUT") == 401
    assert opened(site) == 403


def test_who_is_on_a_list_is_let_in(site: str, sign_in: SignIn) -> None:
    for name in ("ann", "bob"):
        client = sign_in(name)
        assert client.get("/").status_code == 200
        assert client.get("/media/0123456789abcdef.png").status_code == 404  # let in; there is none of that name
        assert opened(site, Cookie=f"{COOKIE}={client.cookies[COOKIE]}") == 101


@pytest.mark.parametrize(
    ("name", "said"), [("eve", "eve@elsewhere.example is not on the list"), ("mallory", "not say that ann@example.com")]
)
def test_who_is_on_no_list_is_refused_with_a_sentence(site: str, sign_in: SignIn, name: str, said: str) -> None:
    client = sign_in(name)
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 403
    assert said in page.text
    assert 'href="/auth/logout"' in page.text
    assert client.get("/media/0123456789abcdef.png").status_code == 403
    assert opened(site, Cookie=f"{COOKIE}={client.cookies[COOKIE]}") == 403


def test_forged_tampered_and_old_cookies_are_refused(site: str, sign_in: SignIn, monkeypatch) -> None:
    right = sign_in("ann").cookies[COOKIE]
    assert asked(site, "/media/a.png", cookie=right) == 404
    made = signed(claims_of(site))
    assert asked(site, "/media/a.png", cookie=made) == 404
    old = signed_before(13 * 3600, site, monkeypatch)
    body, _, signature = right.rpartition(".")
    wrong = {
        "another secret": signed(claims_of(site), secret="0" * 32),
        "no secret": signed(claims_of(site), secret=""),
        "the key of another cookie": signed(claims_of(site), name="_streamlit_user_tokens"),
        "no signature": body,
        "another body": f"{signed(claims_of(site), secret='x').rpartition('.')[0]}.{signature}",
        # The last sign of a signature holds bits that nobody reads; the first holds none.
        "a changed signature": f"{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}",
        "thirteen hours old": old,
        "no json": signed("{"),
        "a list": signed("[1]"),
        "in pieces": signed("chunks-1"),
    }
    assert {why: asked(site, "/media/a.png", cookie=cookie) for why, cookie in wrong.items()} == dict.fromkeys(
        wrong, 401
    )
    assert {why: opened(site, Cookie=f"{COOKIE}={cookie}") for why, cookie in wrong.items()} == dict.fromkeys(
        wrong, 403
    )


@pytest.mark.parametrize(
    "claims",
    [
        {"origin": "https://other.example"}, {"is_logged_in": "yes"}, {"email": None}, {"email": ["ann@example.com"]},
        {"email": "ann@example.com@elsewhere.example"}, {"email": "eve@sub.lab.example.org"},
        {"email": "eve@notlab.example.org"}, {"email": "ann@example.com\n"[:-1] + " x"}, {"email_verified": None},
        {"email": "bo\u212a@lab.example.org"},
    ],
)  # fmt: skip
def test_claims_that_name_nobody_on_a_list_are_refused(site: str, claims: dict[str, Any]) -> None:
    assert asked(site, "/media/a.png", cookie=signed(claims_of(site, **claims))) == 403


def test_a_sign_in_divided_over_several_cookies_is_refused(site: str, sign_in: SignIn) -> None:
    client = sign_in("long")
    assert f"{COOKIE}_1" in client.cookies
    assert client.get("/").status_code == 401


def test_the_gate_s_own_header_can_not_be_brought_along(site: str) -> None:
    """With the header of one and the cookie of another, the gate tells the scripts of the cookie's alone."""
    operator = signer(SECRET, HEADER).dumps({"address": "ann@example.com", "until": time.time() + 1000})
    assert opened(site, x_vlmad_visitor=operator) == 403
    bob = claims_of(site, email="bob@lab.example.org")
    assert opened(site, x_vlmad_visitor=operator, Cookie=f"{COOKIE}={signed(bob)}") == 101


def test_a_websocket_from_another_site_is_refused(site: str, sign_in: SignIn) -> None:
    cookie = f"{COOKIE}={sign_in('ann').cookies[COOKIE]}"
    assert opened(site, Cookie=cookie, Origin="https://elsewhere.example") == 403


def read_out(opened: Any) -> None:
    while True:
        opened.recv(timeout=60)


def test_a_websocket_ends_with_the_sign_in(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = signed_before(HOURS * 3600 - 4, site, monkeypatch)
    address = f"{site.replace('http', 'ws')}/_stcore/stream"
    headers = [{"Origin": site, "Cookie": f"{COOKIE}={value}"} for value in (cookie, signed(claims_of(site)))]
    ending, other = (connect(address, additional_headers=one, proxy=None) for one in headers)
    with closing(ending), closing(other):
        with pytest.raises(ConnectionClosed):
            read_out(ending)
        assert other.ping().wait(60)
    assert asked(site, "/media/a.png", cookie=cookie) == 401


def test_signing_out_takes_the_cookies(site: str, sign_in: SignIn) -> None:
    client = sign_in("ann")
    assert client.get("/").status_code == 200
    client.get("/auth/logout", follow_redirects=False)
    assert COOKIE not in client.cookies
    assert client.get("/").status_code == 401


def test_the_server_s_log_holds_no_secret(site: str, sign_in: SignIn, home: Path) -> None:
    cookie = sign_in("ann").cookies[COOKIE]
    said = (home / "server.log").read_text()
    assert [value for value in (SECRET, CLIENT_SECRET, cookie) if value in said] == []


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no Chromium at {CHROMIUM}")
def test_a_browser_signs_in_sees_images_that_are_closed_to_others_and_signs_out(
    site: str, browser: Any, home: Path
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(120_000)
    tab.goto(site)
    tab.get_by_role("link", name="Sign in").click()
    tab.get_by_role("button", name="bob", exact=True).click()
    tab.get_by_text("bob@lab.example.org, viewer").wait_for()
    tab.goto(f"{site}/failures")
    picture = tab.locator("img[src*='/media/']").first
    picture.wait_for()
    address = urlsplit(tab.evaluate("element => element.src", picture.element_handle())).path
    cookie = {one["name"]: one["value"] for one in context.cookies(site)}[COOKIE]
    assert (asked(site, address), asked(site, address, cookie=cookie)) == (401, 200)
    tab.goto(f"{site}/your_parts")
    tab.get_by_text("only operators can change this").first.wait_for()
    assert tab.get_by_test_id("stFileUploader").count() == 0
    tab.get_by_role("button", name="Sign out").click()
    tab.wait_for_url(lambda url: "/your_parts" not in url)
    tab.goto(site)
    tab.get_by_role("link", name="Sign in").wait_for()
    context.close()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"cookie_secret": "short-and-planted"}, "cookie_secret in [auth] of secrets.toml can be guessed"),
        ({"broken": ""}, "secrets.toml can't be read"),
    ],
)
def test_a_set_up_that_does_not_hold_ends_the_start_with_a_sentence(
    tmp_path: Path, more: dict[str, str], said: str
) -> None:
    if "broken" in more:
        (tmp_path / ".streamlit").mkdir()
        (tmp_path / ".streamlit" / "secrets.toml").write_text("[auth\nhalf = ")
    else:
        written_secrets(tmp_path, "http://127.0.0.1:1", "http://localhost:1", **more)
    environment = {**os.environ, "HOME": str(tmp_path), "VLMAD_VIEWERS": "example.org"}
    command = [*server_command(free_port(), "127.0.0.1"), "--server.fileWatcherType", "none"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert "planted" not in ended.stdout + ended.stderr


def behind_tls(base: str = "") -> TestClient:
    """The gate of a dashboard that is reached by https, before a server that answers all."""

    async def server(scope: Any, receive: Any, send: Any) -> None:
        await Response("there", headers={"set-cookie": "one=1; Path=/"})(scope, receive, send)

    access = Access((), ("ann@example.com",), "https://vlmad.example.com", ("default",), False, SECRET)
    return TestClient(Gate(server, access, base), base_url="https://vlmad.example.com")


def test_behind_tls_cookies_are_secure_and_images_private() -> None:
    client = behind_tls()
    assert client.get("/oauth2callback").headers["set-cookie"] == "one=1; Path=/; Secure"
    assert client.get("/media/a.png").status_code == 401
    cookie = signed(claims_of("https://vlmad.example.com"))
    image = client.get("/media/a.png", headers={"Cookie": f"{COOKIE}={cookie}"})
    assert (image.status_code, image.headers["cache-control"]) == (200, "private")


def test_below_a_path_only_that_path_s_health_and_sign_in_are_open() -> None:
    client = behind_tls("tools/vlmad")
    paths = (
        "/tools/vlmad/_stcore/health",
        "/tools/vlmad/media/a",
        "/tools/vlmad",
        "/tools/vlmadx/static/a",
        "/media/a",
    )
    assert [client.get(path).status_code for path in paths] == [200, 401, 401, 401, 401]
    page = client.get("/tools/vlmad", headers={"Accept": "text/html"}).text
    assert 'href="/tools/vlmad/sign-in?provider=default"' in page


@pytest.mark.parametrize("option", ["server.enableCORS", "server.enableXsrfProtection"])
def test_a_check_that_the_gate_builds_on_can_not_be_off(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    known = st.get_option
    monkeypatch.setattr(gate, "access", lambda: Access((), ("ann@example.com",), "https://v.example.com", ("default",)))
    assert len(gate.middleware()) == 1
    monkeypatch.setattr(st, "get_option", lambda name: False if name == option else known(name))
    with pytest.raises(AccessError, match=f"{option} is off"):
        gate.middleware()


def test_hosts_that_are_not_named_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "is_host_allowed", lambda host: host == "vlmad.example.com")
    client = behind_tls()
    assert client.get("/static/a.js").status_code == 200
    assert client.get("/static/a.js", headers={"Host": "elsewhere.example"}).status_code == 400
    assert client.get("/_stcore/health", headers={"Host": "127.0.0.1:8501"}).status_code == 200
