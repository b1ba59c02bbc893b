"""Upgrading with data, from the first migration of each app to the newest; and back to nothing.

These tests change the tables of the test database. Whatever happens, the newest ones are there again at the end.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone

from anonusers import limits
from anonusers.keys import PURPOSE
from anonusers.models import AnonymousIdentity, EndUser, LoginID, Project, Promotion, Session, SigningKey
from anonusers.promotion import promote
from anonusers.sealing import seal
from anonusers.tokens import RefreshToken, generate_key, new_refresh_token, parse_key
from anonusers.userinfo import is_guest
from example.models import Comment
from portal.models import Membership
from tests.conftest import HOST
from tests.people import EMAIL, PASSWORD, proof_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

OURS = ("portal", "example", "anonusers")
"""Who needs others comes first."""
OTHER = "boris@example.com"


def migrate(*words: str) -> None:
    call_command("migrate", *words, interactive=False, verbosity=0)


def models_at(*targets: tuple[str, str]) -> Any:
    """The models as those migrations knew them."""
    return MigrationExecutor(connection).loader.project_state(list(targets)).apps


def tables() -> set[str]:
    return {name for name in connection.introspection.table_names() if name.startswith(tuple(f"{a}_" for a in OURS))}


@pytest.fixture
def nothing() -> Iterator[None]:
    """A database without any table of ours."""
    try:
        for app in OURS:
            migrate(app, "zero")
        yield
    finally:
        migrate()
        limits.forget()


@dataclass(frozen=True)
class Guest:
    """Who was there before the upgrade, and what their browser and their app hold."""

    sub: uuid.UUID
    user: int
    cookie: RefreshToken
    refresh_token: RefreshToken


def add_person(apps: Any, project: Any, application: Any) -> Guest:
    """A guest with a cookie and a refresh token, as the first release stored them."""
    user = get_user_model().objects.create(username=f"guest-{uuid.uuid4().hex}", password="!unusable")
    sub, now = uuid.uuid4(), timezone.now() - timedelta(days=3)
    end_user = apps.get_model("anonusers", "EndUser").objects.create(id=sub, project=project, user_id=user.pk)
    apps.get_model("anonusers", "AnonymousIdentity").objects.create(end_user=end_user)
    made = {}
    for kind in ("cookie", "token"):
        secret = made[kind] = new_refresh_token(uuid.uuid4())
        apps.get_model("anonusers", "Session").objects.create(
            id=secret.session_id,
            project=project,
            application=application if kind == "token" else None,
            end_user=end_user,
            kind=kind,
            scope="openid offline_access" if kind == "token" else "",
            refresh_hash=secret.hash,
            created_at=now,
            last_used_at=now,
        )
    return Guest(sub, user.pk, made["cookie"], made["token"])


def first_release() -> tuple[Any, Any, Any, dict[str, str]]:
    """A project with its keys and an application. Returns: models, project, application, kid by algorithm."""
    migrate("anonusers", "0001")
    migrate("example", "0001")
    apps = models_at(("anonusers", "0001_initial"), ("example", "0001_initial"))
    project = apps.get_model("anonusers", "Project").objects.create(
        slug="old",
        name="Old",
        anonymous_users_enabled=True,
        login_ids=["email"],
        keys_version=1,
        session_lifetime=86400 * 7,
    )
    apps.get_model("anonusers", "ProjectDomain").objects.create(project=project, domain="localhost")
    application = apps.get_model("anonusers", "Application").objects.create(
        project=project, client_id="web", name="Web", redirect_uris=["http://localhost:9000/"]
    )
    kids = {}
    for algorithm in ("ES256", "RS256", "HS256"):
        private = generate_key(algorithm)
        kids[algorithm] = parse_key(algorithm, private).kid
        apps.get_model("anonusers", "SigningKey").objects.create(
            kid=kids[algorithm], project=project, algorithm=algorithm, private_key=seal(private, purpose=PURPOSE)
        )
    return apps, project, application, kids


def post(client: Client, path: str, body: dict[str, Any]) -> Any:
    return client.post(path, json.dumps(body), content_type="application/json")


def sub_by_cookie(guest: Guest) -> str | None:
    client = Client(HTTP_HOST=HOST)
    client.cookies["anonusers_session"] = str(guest.cookie)
    answer = client.get("/api/v1/userinfo/")
    return str(answer.json()["sub"]) if answer.status_code == 200 else None


def test_data_of_the_first_release_is_there_after_the_upgrade_and_guests_are_who_they_were(nothing: None) -> None:
    apps, project, application, kids = first_release()
    guest, rotated = (add_person(apps, project, application) for _ in range(2))
    apps.get_model("example", "Comment").objects.create(author_id=guest.user, text="I was here before")
    operator = get_user_model().objects.create(username="operator", is_staff=True)

    migrate()

    upgraded = Project.objects.get()
    assert (upgraded.slug, upgraded.session_lifetime, upgraded.login_ids) == ("old", 86400 * 7, ["email"])
    assert set(SigningKey.objects.values_list("kid", flat=True)) == set(kids.values())
    assert set(EndUser.objects.values_list("pk", "user_id")) == {(one.sub, one.user) for one in (guest, rotated)}
    assert AnonymousIdentity.objects.count() == 2
    assert Comment.objects.get().author.end_user.pk == guest.sub
    assert is_guest(Comment.objects.get().author)
    assert Membership.objects.get().user == operator

    assert sub_by_cookie(guest) == str(guest.sub)
    client = Client(HTTP_HOST=HOST)
    answer = post(client, "/api/v1/refresh/", {"client_id": "web", "refresh_token": str(rotated.refresh_token)})
    assert answer.status_code == 200, answer.content
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/api/v1/userinfo/", headers=bearer).json()["sub"] == str(rotated.sub)
    form = {"grant_type": "refresh_token", "client_id": "web", "refresh_token": str(guest.refresh_token)}
    kind = "application/x-www-form-urlencoded"
    by_authgear = client.post("/oauth2/token", urlencode(form), content_type=kind)
    assert by_authgear.status_code == 200, by_authgear.content
    known = {key["kid"] for key in client.get("/oauth2/jwks").json()["keys"]}
    assert known == {kids["ES256"], kids["RS256"]}


def test_a_guest_of_the_first_release_is_promoted_after_the_upgrade(nothing: None) -> None:
    apps, project, application, _ = first_release()
    guest = add_person(apps, project, application)
    migrate()
    end_user = EndUser.objects.get(pk=guest.sub)
    promoted = promote(end_user=end_user, project=end_user.project, proof=proof_of(EMAIL, password=PASSWORD))
    assert promoted.end_user.pk == guest.sub
    assert sub_by_cookie(guest) is None, "sessions from before end"
    client = Client(HTTP_HOST=HOST)
    body = {"client_id": "web", "login_id": EMAIL, "password": PASSWORD}
    assert post(client, "/api/v1/login/", body).status_code == 200


def test_who_was_promoted_before_the_upgrade_is_a_member_after_it(nothing: None) -> None:
    apps, project, application, _ = first_release()
    person = add_person(apps, project, application)
    migrate("anonusers", "0002")
    apps = models_at(("anonusers", "0002_promotion"))
    end_user = apps.get_model("anonusers", "EndUser").objects.get(pk=person.sub)
    proof = proof_of(OTHER, password=PASSWORD)
    apps.get_model("anonusers", "LoginID").objects.create(
        project_id=project.pk,
        end_user=end_user,
        type="email",
        value=OTHER,
        key=proof.login_id.key,
        verified_at=timezone.now(),
    )
    apps.get_model("anonusers", "Promotion").objects.create(
        end_user=end_user, outcome="promoted", method="password", application_id=application.pk
    )
    apps.get_model("anonusers", "AnonymousIdentity").objects.all().delete()
    get_user_model().objects.filter(pk=person.user).update(email=OTHER, password=proof.password)

    migrate()

    member = EndUser.objects.get(pk=person.sub)
    assert not member.is_guest
    assert member.promoted_at == Promotion.objects.get().created_at
    assert LoginID.objects.get().value == OTHER
    assert sub_by_cookie(person) == str(person.sub)
    client = Client(HTTP_HOST=HOST)
    body = {"client_id": "web", "login_id": OTHER, "password": PASSWORD}
    answer = post(client, "/api/v1/login/", body)
    assert answer.status_code == 200, answer.content
    assert Session.objects.filter(end_user=member).count() == 3


def test_every_migration_can_be_taken_back_one_after_the_other(nothing: None) -> None:
    assert tables() == set()
    migrate()
    made = tables()
    assert "anonusers_enduser" in made
    graph = MigrationExecutor(connection).loader.graph
    plan = [node for app in OURS for leaf in graph.leaf_nodes(app) for node in graph.forwards_plan(leaf)]
    names = sorted({node for node in plan if node[0] in OURS}, key=plan.index)
    for app in OURS:
        for name in reversed([name for owner, name in names if owner == app]):
            parents = [name for owner, name in graph.node_map[(app, name)].parents if owner == app]
            migrate(app, parents[0] if parents else "zero")
    assert tables() == set()
    migrate()
    assert tables() == made


def test_with_data_too(nothing: None) -> None:
    """What the older tables cannot hold is lost; what they can hold is not."""
    apps, project, application, _ = first_release()
    guest = add_person(apps, project, application)
    migrate()
    migrate("portal", "zero")
    migrate("anonusers", "0001")
    apps = models_at(("anonusers", "0001_initial"))
    assert apps.get_model("anonusers", "EndUser").objects.get().pk == guest.sub
    assert apps.get_model("anonusers", "Session").objects.count() == 2
    migrate()
    assert sub_by_cookie(guest) == str(guest.sub)


def test_models_and_migrations_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """`makemigrations --check`: nobody who upgrades is asked to make one of ours."""
    call_command("makemigrations", check_changes=True, dry_run=True)
    assert "No changes detected" in capsys.readouterr().out
