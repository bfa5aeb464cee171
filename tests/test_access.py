"""How signing in must be set up, and who is on a list."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from vlmad_core.access import Access, Role, read_access
from vlmad_core.errors import AccessError

SECRET = "3f1c9a7be25d48608f1c9a7be25d4860"
SECTION: dict[str, Any] = {
    "redirect_uri": "https://vlmad.example.com/oauth2callback", "cookie_secret": SECRET, "client_id": "vlmad",
    "client_secret": "planted", "server_metadata_url": "https://id.example.com/.well-known/openid-configuration",
}  # fmt: skip


@pytest.fixture(autouse=True)
def lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lists with an entry of each kind."""
    monkeypatch.delenv("VLMAD_UNVERIFIED_ADDRESSES", raising=False)
    monkeypatch.setenv("VLMAD_VIEWERS", "Example.org, bob@example.com;@lab.example.com")
    monkeypatch.setenv("VLMAD_OPERATORS", "ann@example.org")


def set_up(**more: Any) -> Access:
    found = read_access({name: value for name, value in (SECTION | more).items() if value is not None})
    assert found is not None
    return found


def test_without_lists_and_secrets_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLMAD_VIEWERS")
    monkeypatch.setenv("VLMAD_OPERATORS", " ")
    assert read_access(None) is None


@pytest.mark.parametrize(
    ("address", "role"),
    [
        ("ann@example.org", Role.OPERATOR), ("eve@example.org", Role.VIEWER), ("bob@example.com", Role.VIEWER),
        ("x@lab.example.com", Role.VIEWER), ("ann@example.com", None), ("x@sub.example.org", None),
        ("x@notexample.org", None), ("bob@example.com.evil.example", None), ("example.org", None),
    ],
)  # fmt: skip
def test_an_address_or_its_whole_domain_must_be_on_a_list(address: str, role: Role | None) -> None:
    access = set_up()
    if role is None:
        with pytest.raises(AccessError, match="is not on the list"):
            access.visitor(address)
    else:
        assert access.visitor(address).role is role


def test_an_address_that_is_not_verified_counts_only_where_it_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = {"origin": "https://vlmad.example.com", "is_logged_in": True, "email": "Bob@Example.com"}
    with pytest.raises(AccessError, match="VLMAD_UNVERIFIED_ADDRESSES=1"):
        set_up().admit(claims)
    monkeypatch.setenv("VLMAD_UNVERIFIED_ADDRESSES", "1")
    assert set_up().admit(claims).address == "bob@example.com"
    with pytest.raises(AccessError, match="verified"):
        set_up().admit(claims | {"email_verified": False})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"cookie_secret": None}, "cookie_secret is missing"),
        ({"cookie_secret": 12345678901234567890123456789012}, "cookie_secret is missing"),
        ({"cookie_secret": SECRET[:31]}, "cookie_secret in .* can be guessed"),
        ({"cookie_secret": "changeme" * 1 + "e" * 40}, "cookie_secret in .* can be guessed"),
        ({"redirect_uri": None}, "redirect_uri"),
        ({"redirect_uri": "https://vlmad.example.com/"}, "ends with /oauth2callback"),
        ({"redirect_uri": "http://vlmad.example.com/oauth2callback"}, "plain http on vlmad.example.com"),
        ({"redirect_uri": "http://localhost:{port}/oauth2callback"}, "placeholder"),
        ({"client_id": None}, "names no provider"),
        ({"client_secret": ""}, "default in secrets.toml lacks client_secret"),
        ({"my_idp": {"client_id": "x"}}, "lacks client_secret, server_metadata_url"),
    ],
)
def test_what_is_missing_or_unsafe_is_named_without_the_secrets(more: dict[str, Any], said: str) -> None:
    with pytest.raises(AccessError, match=said) as raised:
        set_up(**more)
    values = [str(value) for name, value in (SECTION | more).items() if name.endswith("secret") and value]
    assert not [value for value in values if value in str(raised.value)]


def test_half_a_set_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AccessError, match=r"no table \[auth\]"):
        read_access(None)
    monkeypatch.setenv("VLMAD_VIEWERS", "somebody")
    with pytest.raises(AccessError, match="neither an address nor a domain: 'somebody'"):
        set_up()
    monkeypatch.delenv("VLMAD_VIEWERS")
    monkeypatch.delenv("VLMAD_OPERATORS")
    with pytest.raises(AccessError, match="nobody is on a list"):
        set_up()


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "authlib" else known(name))
    with pytest.raises(AccessError, match=r"needs authlib\. Run: pip install -r requirements\.txt"):
        set_up()


def test_how_it_is_set_up_can_be_printed_without_the_secret() -> None:
    assert SECRET not in repr(set_up())
    assert set_up(corp=dict(SECTION)).providers == ("default", "corp")
