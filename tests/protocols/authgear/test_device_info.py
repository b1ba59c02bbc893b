"""What is shown of the device a session lives on: `x_device_info` of the form, or `device_info` that was signed."""

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from anonusers.models import Application, Session
from tests.anonusers.signing import b64
from tests.protocols.authgear.keys import logged_in, refuse, request, sample
from tests.protocols.authgear.sdk_samples import (
    SAMPLES,
    android_device_info,
    escaped,
    ios_device_info,
    x_device_info,
)
from tests.protocols.authgear.steps import (
    assert_oauth_error,
    authorization,
    authorize,
    claims_of,
    exchange,
    exchanged,
    get_tokens,
    make_user,
    nothing_changes,
    only_session,
    redirected,
    refresh,
    refreshed,
    sign_in,
    userinfo,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.spec("authgear.md", "1.9")]

IPHONE = {"name": "Ada’s iPhone", "model": "iPhone14,5", "system": "iOS 18.5", "app": "Gästebuch 1.2.0"}
PIXEL = {"name": "Ada’s Pixel 8", "model": "Google Pixel 8 Pro", "system": "Android 14", "app": "Gästebuch 1.2.0"}
REFUSED = (400, "invalid_request", "x_device_info is not valid")


def encoded(info: Any) -> str:
    return b64(json.dumps(info).encode())


def latest() -> Session:
    return Session.objects.order_by("-created_at", "-pk").filter(ended_at=None)[0]


def device_with(client: Client, **fields: Any) -> Any:
    """The device of a new session, of which nothing was known before."""
    Session.objects.update(ended_at=timezone.now())
    logged_in(client, fields.pop("jwt", None) or request(client, claims=fields.pop("claims", None)), **fields)
    return latest().device


# --- what each SDK tells --------------------------------------------------------------------------

TELLS = {"ios": IPHONE, "android": PIXEL, "android-2": PIXEL}


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize("name", SAMPLES)
def test_what_each_sdk_signs_of_its_device(application: Application, browser: Client, name: str, known: bool) -> None:
    if known:
        logged_in(browser, sample(browser, name))
    assert device_with(browser, jwt=sample(browser, name)) == TELLS.get(name, {})


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
@pytest.mark.parametrize(
    ("text", "device"),
    [
        (x_device_info(ios_device_info(), escaped), IPHONE),
        (x_device_info(android_device_info()), PIXEL),
        (x_device_info(android_device_info()) + "=" * 2, PIXEL),
    ],
    ids=["iOS", "Android", "padded"],
)
def test_the_form_is_asked_before_the_signature(
    application: Application, browser: Client, text: str, device: dict[str, str], known: bool
) -> None:
    if known:
        logged_in(browser, sample(browser, "ios"))
    assert device_with(browser, jwt=sample(browser, "ios"), x_device_info=text) == device


def test_a_form_that_tells_nothing_does_not_hide_what_was_signed(application: Application, browser: Client) -> None:
    for empty in ("", encoded({}), encoded({"ios": {}}), encoded({"web": {"name": "x"}})):
        assert device_with(browser, jwt=sample(browser, "android"), x_device_info=empty) == PIXEL


def test_react_native_tells_with_a_refresh(application: Application, browser: Client) -> None:
    tokens = logged_in(browser, sample(browser, "react-native"))
    assert only_session().device == {}
    told = x_device_info(android_device_info())
    tokens = refreshed(browser, tokens["refresh_token"], x_device_info=told)
    assert only_session().device == PIXEL
    tokens = refreshed(browser, tokens["refresh_token"])
    assert only_session().device == PIXEL, "and what was told stays"
    older = ios_device_info()
    older["ios"]["UIDevice"]["name"] = "Ada’s new iPhone"
    refreshed(browser, tokens["refresh_token"], x_device_info=x_device_info(older))
    assert only_session().device == IPHONE | {"name": "Ada’s new iPhone"}


def test_the_web_tells_nothing(application: Application, browser: Client) -> None:
    get_tokens(browser)
    assert only_session().device == {}


def test_a_code_exchange_tells_it_too(application: Application, browser: Client) -> None:
    sign_in(browser, make_user(application.project))
    code = redirected(authorize(browser, authorization(prompt="none")))["code"]
    exchanged(browser, code, x_device_info=x_device_info(ios_device_info()))
    assert Session.objects.get(kind="token", ended_at=None).device == IPHONE


# --- what is not valid ----------------------------------------------------------------------------

BAD: dict[str, str] = {
    "no base64": "!",
    "a length that is none": "A",
    "blanks": "e30 e30",
    "the other alphabet": "e+/-",
    "not ASCII": "é",
    "not JSON": b64(b"{"),
    "nothing in it": b64(b" "),
    "not UTF-8": b64(b'{"a": "\xff"}'),
    "a list": encoded([]),
    "a string": encoded("ios"),
    "a number": encoded(1),
    "null": encoded(None),
    "JSON without base64": '{"ios":{}}',
    "deep": b64(b"[" * 15_000),
    "5000 digits": b64(b'{"a": ' + b"9" * 5000 + b"}"),
    "a JWT": "e30.e30.e30",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_refused_and_nothing_is_spent(
    application: Application, browser: Client, text: str
) -> None:
    """§1.9."""
    jwt, bad = request(browser), {"x_device_info": text}
    refuse(browser, jwt, *REFUSED, **bad)
    tokens = logged_in(browser, jwt)
    refuse(browser, request(browser), *REFUSED, **bad)
    with nothing_changes():
        assert_oauth_error(refresh(browser, tokens["refresh_token"], **bad), *REFUSED)
    assert refresh(browser, tokens["refresh_token"]).status_code == 200


def test_at_a_code_exchange_it_does_not_burn_the_code(application: Application, browser: Client) -> None:
    sign_in(browser, make_user(application.project))
    code = redirected(authorize(browser, authorization(prompt="none")))["code"]
    with nothing_changes():
        assert_oauth_error(exchange(browser, code, x_device_info="!"), *REFUSED)
    assert exchanged(browser, code)


# --- what is odd breaks nothing -------------------------------------------------------------------


def ios(**device: Any) -> dict[str, Any]:
    return {"ios": {"UIDevice": device}}


ODD: dict[str, tuple[Any, dict[str, str]]] = {
    "an unknown platform": ({"windows": {"name": "x"}}, {}),
    "a list for an object": ({"ios": ["x"]}, {}),
    "a string for an object": ({"android": "x"}, {}),
    "null": ({"ios": None, "android": None}, {}),
    "a number for a name": (ios(name=1), {}),
    "an object for a name": (ios(name={"x": 1}), {}),
    "a list for a part": ({"ios": {"UIDevice": [], "NSBundle": 1, "uname": None}}, {}),
    "empty": (ios(name="", model="", systemName="", systemVersion=""), {}),
    "only a version": (ios(systemVersion="18.5"), {"system": "18.5"}),
    "NUL": (ios(name="a\0b"), {"name": "ab"}),
    "half a surrogate pair": (ios(name="a\ud800b\udfff"), {"name": "ab"}),
    "line breaks and controls": (ios(name="a\r\n\tb\x7f\x1b[31m"), {"name": "ab[31m"}),
    "right to left": (ios(name="a\u202eb\u2066c\ufeff"), {"name": "abc"}),
    "HTML": (ios(name="<script>alert(1)</script>"), {"name": "<script>alert(1)</script>"}),
    "a template": (ios(name="{{ settings.SECRET_KEY }}"), {"name": "{{ settings.SECRET_KEY }}"}),
    "emoji": (ios(name="📱 von Ada"), {"name": "📱 von Ada"}),
    "long": (ios(name="n" * 5000), {"name": "n" * 100}),
    "long in two parts": (ios(systemName="s" * 90, systemVersion="v" * 90), {"system": "s" * 90 + " " + "v" * 9}),
    "more than is known": (ios(name="x", secret="y", batteryLevel=1), {"name": "x"}),
    "our own names": ({"name": "x", "model": "y", "system": "z"}, {}),
    "both platforms": (ios_device_info() | android_device_info(), IPHONE),
    "many": ({"ios": {"UIDevice": {f"k{n}": "v" for n in range(500)}}}, {}),
}
UNREADABLE = ("NUL", "half a surrogate pair")
"""In a signed request these are not JSON that anybody's SDK writes: refused as a whole."""


@pytest.mark.parametrize(("info", "device"), ODD.values(), ids=ODD)
def test_odd_things_in_the_form_break_nothing(
    application: Application, browser: Client, info: Any, device: dict[str, str]
) -> None:
    text = encoded(info)
    assert device_with(browser, x_device_info=text) == device
    assert device_with(browser, x_device_info=text) == device, "nor for a known key"
    tokens = get_tokens(browser)
    assert refreshed(browser, tokens["refresh_token"], x_device_info=text)
    assert latest().device == device


@pytest.mark.parametrize(
    ("info", "device"),
    [ODD[name] for name in ODD if name not in UNREADABLE],
    ids=[name for name in ODD if name not in UNREADABLE],
)
def test_odd_things_that_were_signed_break_nothing(
    application: Application, browser: Client, info: Any, device: dict[str, str]
) -> None:
    assert device_with(browser, claims={"device_info": info}) == device
    assert device_with(browser, claims={"device_info": info}) == device


@pytest.mark.parametrize("info", [None, 1, "x", [], [{"ios": {}}], True, 1.5, ""], ids=repr)
def test_a_signed_device_info_that_is_no_object_is_none(application: Application, browser: Client, info: Any) -> None:
    assert device_with(browser, claims={"device_info": info}) == {}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_no_database_could_store_is_refused_where_it_was_signed(
    application: Application, browser: Client, name: str
) -> None:
    refuse(browser, request(browser, claims={"device_info": ODD[name][0]}))


def test_it_is_shown_escaped(application: Application, browser: Client) -> None:
    """On the settings page, to its own user."""
    name = "<script>alert(1)</script>&amp;"
    logged_in(browser, request(browser), x_device_info=encoded(ios(name=name)))
    session = only_session()
    sign_in(browser, session.end_user)
    response = browser.get("/settings")
    assert response.status_code == 200
    assert b"<script>alert" not in response.content


def test_it_is_personal_and_not_told_to_the_application(application: Application, browser: Client) -> None:
    tokens = logged_in(browser, sample(browser, "ios"))
    told = json.dumps(tokens) + userinfo(browser, tokens["access_token"]).content.decode()
    claims = claims_of(browser, tokens["id_token"], audience="web")
    assert "iPhone" not in told + json.dumps(claims)
