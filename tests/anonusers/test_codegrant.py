"""Authorization codes: exactly once, also when everybody comes at once, and never past a promotion."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import codegrant, sessions
from anonusers.codegrant import exchange_code, issue_code
from anonusers.errors import InvalidToken
from anonusers.keys import key_ring
from anonusers.login_ids import parse_login_id
from anonusers.models import AnonymousIdentity, Application, EndUser, OneTimeToken, Session
from anonusers.promotion import promote
from anonusers.promotion.base import Proof
from anonusers.signup import sign_up
from anonusers.tokens import Issuer
from tests.conftest import APP_ORIGIN, make_application, make_project
from tests.test_races import at_once

URI = f"{APP_ORIGIN}/after-login"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ISSUER = Issuer("http://localhost:8000", lambda info: {})


def guest_of(application: Application) -> EndUser:
    signed_up = sign_up(project=application.project, application=application, kind="cookie", current=None)
    return EndUser.objects.get(pk=signed_up.session.end_user_id)


def code_for(end_user: EndUser, application: Application) -> str:
    return issue_code(
        end_user=end_user,
        application=application,
        redirect_uri=URI,
        code_challenge=CHALLENGE,
        scope="openid offline_access",
        authenticated_at=timezone.now(),
    ).secret


def exchange(application: Application, code: str, **changes: Any) -> Any:
    """Tokens, or None where the code is refused."""
    arguments: dict[str, Any] = {
        "host": "localhost",
        "application": application,
        "code": code,
        "redirect_uri": URI,
        "code_verifier": VERIFIER,
        "issuer": ISSUER,
    }
    try:
        return exchange_code(**(arguments | changes))
    except InvalidToken:
        return None


def is_alive(tokens: Any) -> bool:
    try:
        sessions.find_by_refresh_token(host="localhost", refresh_token=tokens.refresh_token)
        sessions.find_by_access_token(host="localhost", origin=ISSUER.origin, token=tokens.access_token)
    except InvalidToken:
        return False
    return True


@pytest.mark.django_db
def test_the_statements_of_an_exchange(application: Application) -> None:
    """Seven: find it; lock user and code, read the user, spend, open, note what was opened."""
    code = code_for(guest_of(application), application)
    key_ring(application.project)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert exchange(application, code)
    verbs = [query["sql"].split()[0] for query in queries if query["sql"].split()[0] not in ("SAVEPOINT", "RELEASE")]
    assert verbs == ["SELECT", "SELECT", "SELECT", "SELECT", "UPDATE", "INSERT", "UPDATE"]


@pytest.mark.django_db
def test_a_failure_midway_leaves_the_code_good(application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is not a replay: nothing half done, and the client may try again."""
    code = code_for(guest_of(application), application)

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(codegrant, "mint_tokens", fails)
    with pytest.raises(RuntimeError):
        exchange(application, code)
    assert not Session.objects.filter(kind="token").exists()
    monkeypatch.undo()
    assert is_alive(exchange(application, code))


# --- races ----------------------------------------------------------------------------------------


@pytest.fixture
def web(transactional_db: None) -> Application:
    return make_application(make_project())


@pytest.mark.postgres
@pytest.mark.spec("RFC 9700", "4.5")
@pytest.mark.parametrize("_round", range(5))
def test_of_32_at_once_exactly_one_gets_tokens_and_they_are_dead_afterwards(web: Application, _round: int) -> None:
    """E8: every other one is a second use, whichever came first; so what the winner got is ended (E7)."""
    code = code_for(guest_of(web), web)

    answers = at_once(32, lambda _: exchange(web, code))

    won = [tokens for tokens in answers if tokens is not None]
    assert len(won) == 1
    [session] = Session.objects.filter(kind="token")
    assert session.ended_at is not None
    assert not is_alive(won[0])
    assert exchange(web, code) is None


@pytest.mark.postgres
def test_32_codes_at_once_are_32_sessions(web: Application) -> None:
    guest = guest_of(web)
    codes = [code_for(guest, web) for _ in range(32)]
    assert all(is_alive(tokens) for tokens in at_once(32, lambda number: exchange(web, codes[number])))


@pytest.mark.postgres
def test_where_one_session_is_allowed_one_of_many_is_left(web: Application) -> None:
    Application.objects.update(max_concurrent_sessions=1)
    web.refresh_from_db()
    guest = guest_of(web)
    codes = [code_for(guest, web) for _ in range(16)]
    answers = at_once(16, lambda number: exchange(web, codes[number]))
    assert [is_alive(tokens) for tokens in answers].count(True) == 1
    assert Session.objects.filter(kind="token", ended_at=None).count() == 1


@pytest.mark.postgres
@pytest.mark.parametrize("_round", range(10))
def test_a_good_and_a_bad_verifier_at_once_leave_no_session_behind_a_refusal(web: Application, _round: int) -> None:
    """Whoever comes second ends what the first one got; a bad guess before it burns the code."""
    code = code_for(guest_of(web), web)
    answers = at_once(4, lambda number: exchange(web, code, **({"code_verifier": "A" * 43} if number % 2 else {})))
    assert len([tokens for tokens in answers if tokens]) <= 1
    assert not Session.objects.filter(kind="token", ended_at=None).exists()


@pytest.mark.postgres
@pytest.mark.parametrize("_round", range(20))
def test_no_session_of_the_guest_outlives_a_promotion_at_the_same_moment(web: Application, _round: int) -> None:
    """F1: either the promotion ends what the code gave, or it has voided the code. And nobody is deadlocked."""
    guest = guest_of(web)
    codes = [code_for(guest, web) for _ in range(3)]
    proof = Proof("password", parse_login_id("email", "ada@example.com"), verified=False, password="!")

    def either(number: int) -> Any:
        if number == 3:
            return promote(end_user=guest, project=web.project, proof=proof)
        return exchange(web, codes[number])

    at_once(4, either)

    assert not AnonymousIdentity.objects.exists()
    assert not Session.objects.filter(ended_at=None).exists()
    assert not OneTimeToken.objects.filter(used_at=None).exists()


@pytest.mark.postgres
def test_a_code_whose_user_is_deleted_in_between_gives_nothing(web: Application, monkeypatch: Any) -> None:
    guest = guest_of(web)
    code = code_for(guest, web)
    original = codegrant._lock

    def deleted_meanwhile(*args: Any) -> Any:
        at_once(1, lambda _: guest.user.delete())  # from another connection
        return original(*args)

    monkeypatch.setattr(codegrant, "_lock", deleted_meanwhile)
    assert exchange(web, code) is None
    assert not EndUser.objects.exists()
    assert not Session.objects.exists()
