"""The soft limit at the native API: a challenge, its solution, and a new guest for each."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from anonusers.models import EndUser, OneTimeToken
from tests.bot_checks import solved
from tests.conftest import make_application, make_project, row_counts, state_of
from tests.protocols.rest.conftest import Api, is_problem
from tests.protocols.rest.devices import Device, refused, unspent

pytestmark = [pytest.mark.django_db, pytest.mark.database]
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _one_a_minute(settings: Any) -> Any:
    settings.ANONUSERS_BOT_CHECK_PER_IP = "1/m"
    settings.ANONUSERS_BOT_CHECK_DIFFICULTY = 50
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        yield


def challenge_of(response: Any) -> dict[str, Any]:
    assert is_problem(response, 403, "bot_check_required", retry_after=60)
    assert response.headers["Retry-After"] == "60"
    assert not response.cookies
    return response.json()["challenge"]


@pytest.mark.parametrize("kind", ["token", "cookie"])
def test_past_the_soft_limit_a_solution_makes_a_guest(application, kind):
    assert Api().sign_up(kind=kind).status_code == 201
    before = row_counts()
    challenge = challenge_of(Api().sign_up(kind=kind))
    assert set(challenge) == {"type", "algorithm", "challenge", "maxNumber", "salt", "signature"}
    assert row_counts() == before
    solution = solved(challenge)
    assert Api().sign_up(kind=kind, more={"bot_check": solution}).status_code == 201
    after = row_counts()
    assert challenge_of(Api().sign_up(kind=kind, more={"bot_check": solution})) != challenge
    assert row_counts() == after
    assert EndUser.objects.count() == 2


def test_a_retry_under_an_idempotency_key_needs_no_second_solution(application):
    Api().sign_up()
    key = {"Idempotency-Key": "k" * 16}
    solution = solved(challenge_of(Api().sign_up(headers=key)))
    answers = [Api().sign_up(more={"bot_check": solution}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["sub"] == answers[1].json()["sub"]
    assert Api().sign_up(headers=key).json()["sub"] == answers[0].json()["sub"]


def test_a_guest_who_comes_back_needs_none(application):
    api = Api()
    guest = api.sign_up().json()
    assert [api.sign_up(bearer=guest["access_token"]).status_code for _ in range(3)] == [200] * 3


def test_a_solution_of_another_project_is_worth_nothing(application):
    make_application(make_project("second", "second.localhost"))
    Api(HTTP_HOST="second.localhost").sign_up()
    Api().sign_up()
    solution = solved(challenge_of(Api(HTTP_HOST="second.localhost").sign_up()))
    challenge_of(Api().sign_up(more={"bot_check": solution}))
    assert Api(HTTP_HOST="second.localhost").sign_up(more={"bot_check": solution}).status_code == 201


def test_a_device_key_signs_up_with_a_solution_and_the_same_signed_request(application):
    Api().sign_up()
    phone = Device()
    body = {"signed_request": phone.signed(Api().challenge())}
    before, left = row_counts(), unspent()
    response = phone.log_in(more=body)
    challenge = challenge_of(response)
    # The challenge that log_in asks for by itself is the only new row; the one that was signed is as good as before.
    before["anonusers.OneTimeToken"] += 1
    assert refused(response, 403, "bot_check_required", before)
    assert unspent() == left + 1
    response = phone.log_in(more=body | {"bot_check": solved(challenge)})
    assert (response.status_code, response.json()["created"]) == (201, True)
    assert phone.log_in().status_code == 200  # whose key is known needs none


@pytest.mark.parametrize(
    ("value", "status"),
    [("x" * 4096, 403), ("x" * 4097, 400), (5, 400), (None, 400)],
    ids=["4096", "4097", "5", "null"],
)
def test_a_solution_is_a_text_of_at_most_4096_characters(application, value, status):
    guest = Api().sign_up().json()
    before, row = row_counts(), state_of(EndUser.objects.get())
    assert Api().sign_up(more={"bot_check": value}).status_code == status
    assert (row_counts(), state_of(EndUser.objects.get())) == (before, row)
    assert guest["created"] is True


def test_who_rotates_addresses_or_forges_headers_solves_all_the_same(application):
    assert Api(REMOTE_ADDR="2001:db8:1:2::1").sign_up().status_code == 201
    for number in range(2, 10):
        challenge_of(Api(REMOTE_ADDR=f"2001:db8:1:2:{number:x}::1").sign_up())
    assert Api(REMOTE_ADDR="192.0.2.1").sign_up().status_code == 201
    for number in range(10):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"}
        challenge_of(Api(REMOTE_ADDR="192.0.2.1").sign_up(headers=forged))
    assert OneTimeToken.objects.count() == 0


def test_the_solver_of_the_guide_solves(application):
    guide = (ROOT / "docs/http-api.md").read_text()
    [solver] = re.findall(r"cat > solve.py <<'END'\n(.*?)END\n", guide, re.DOTALL)
    assert len(solver.splitlines()) <= 15
    Api().sign_up()
    problem = Api().sign_up()
    challenge_of(problem)
    ran = subprocess.run(
        [sys.executable, "-c", solver], input=problem.content, capture_output=True, timeout=60, check=True
    )
    body = json.loads(ran.stdout)
    assert set(body) == {"client_id", "bot_check"}
    assert Api().sign_up(more={"bot_check": body["bot_check"]}).status_code == 201
