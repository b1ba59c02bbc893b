"""Whatever of ours is somebody's goes with them: no table is forgotten, by the clean-up or by an erasure."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Model, UUIDField
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from anonusers import onetime
from anonusers.erasure import erase
from anonusers.guest_data import KNOWN, Person, plan, relations
from anonusers.models import (
    ActiveDay,
    AnonymousIdentity,
    ApiKey,
    Application,
    AuditEvent,
    DeviceKey,
    EndUser,
    LoginID,
    Promotion,
    RealmIdentity,
    Session,
)
from anonusers.realm_users import realm_user_of
from anonusers.removal import OURS, remove
from tests.people import new_guest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
LETS_GO = {
    "anonusers.DeviceKey.end_user": "retired by the clean-up, and deleted by an erasure",
    "anonusers.Promotion.superseded_by": "set to null: the row is the other person's",
}
"""Relations to a person that do not empty their table, and what happens instead."""
WITHOUT_RELATION = {
    "anonusers.ActiveDay.end_user_id": "statistics.count_out",
    "anonusers.AuditEvent.end_user_id": "audit.forget",
}
"""Columns that name a person without a foreign key, and what sees to them where somebody is erased."""
OF_OPERATORS = {"anonusers.AuditEvent.actor"}


def relations_to(target: type[Model], app: str) -> set[str]:
    """Every foreign key and one-to-one of an app to these people, hidden tables of many-to-many fields with them."""
    return {
        f"{one.related_model._meta.label}.{one.field.name}"
        for one in target._meta.get_fields(include_hidden=True)
        if one.auto_created and not one.concrete and not one.many_to_many
        if one.related_model._meta.app_label == app
    }


def columns_without_relation(app: str) -> Iterator[str]:
    """Those that could hold a sub."""
    for model in apps.get_app_config(app).get_models(include_auto_created=True):
        for field in model._meta.concrete_fields:
            if isinstance(field, UUIDField) and not field.primary_key:
                yield f"{model._meta.label}.{field.name}"


# --- what there is --------------------------------------------------------------------------------


def test_every_table_of_ours_that_leads_to_a_person_is_emptied_or_lets_them_go() -> None:
    """A new one belongs into `OURS`, or here with what happens instead."""
    emptied = {f"{model._meta.label}.{field}" for model, field in OURS}
    assert len(emptied) == len(OURS)
    assert relations_to(EndUser, "anonusers") == emptied | LETS_GO.keys()
    assert not emptied & LETS_GO.keys()


def test_nothing_of_ours_but_the_end_user_hangs_on_the_hosts_user() -> None:
    assert relations_to(get_user_model(), "anonusers") == {"anonusers.EndUser.user"} | OF_OPERATORS


def test_every_column_that_names_a_person_without_a_relation_is_seen_to() -> None:
    assert {*columns_without_relation("anonusers"), *columns_without_relation("portal")} == WITHOUT_RELATION.keys()


def test_what_of_the_portal_leads_to_a_user_is_declared_for_every_host() -> None:
    """The portal's tables are as a host's: what becomes of them stands in `KNOWN`, so that no host must say it."""
    there = relations_to(EndUser, "portal") | relations_to(get_user_model(), "portal")
    assert there == {label for label in KNOWN if label.startswith("portal.")}
    assert there <= {relation.label for relation in relations()}


# --- what becomes of it ---------------------------------------------------------------------------


@pytest.fixture
def person(application: Application) -> EndUser:
    """Somebody with a row in every table, though nobody has all of them at once."""
    guest = new_guest(application)
    for row in ROWS.values():
        row(guest)
    return EndUser.objects.get(pk=guest.pk)


def _device_key(guest: EndUser) -> Any:
    now = timezone.now()
    facts: Any = {"algorithm": "ES256", "jwk": {}, "thumbprint": "t" * 43, "created_at": now, "last_used_at": now}
    return DeviceKey.objects.create(project=guest.project, end_user=guest, key_id="phone", **facts)


def _login_id(guest: EndUser) -> Any:
    facts: Any = {"type": "email", "value": "anna@example.com", "key": "k"}
    return LoginID.objects.create(project=guest.project, end_user=guest, **facts)


ROWS: dict[str, Callable[[EndUser], Any]] = {
    "anonusers.AnonymousIdentity.end_user": lambda guest: AnonymousIdentity.objects.get(end_user=guest),
    "anonusers.ApiKey.end_user": lambda guest: ApiKey.objects.create(
        project=guest.project, end_user=guest, name="x", key_hash="h"
    ),
    "anonusers.DeviceKey.end_user": _device_key,
    "anonusers.LoginID.end_user": _login_id,
    "anonusers.OneTimeToken.end_user": lambda guest: onetime.issue(
        "password_reset", project=guest.project, end_user=guest
    ),
    "anonusers.Promotion.end_user": lambda guest: Promotion.objects.create(
        end_user=guest, outcome="superseded", method="password", superseded_by=guest
    ),
    "anonusers.Promotion.superseded_by": lambda guest: Promotion.objects.create(
        end_user=new_guest(guest.application), outcome="superseded", method="password", superseded_by=guest
    ),
    "anonusers.RealmIdentity.end_user": lambda guest: realm_user_of(guest),
    "anonusers.RealmUser.end_user": lambda guest: realm_user_of(guest),
    "anonusers.Session.end_user": lambda guest: Session.objects.get(end_user=guest),
}


def leading_to(sub: uuid.UUID) -> dict[str, int]:
    """How many rows of ours lead to somebody, by relation."""
    counts = {}
    for label in relations_to(EndUser, "anonusers"):
        model, _dot, field = label.rpartition(".")
        counts[label] = apps.get_model(model)._base_manager.filter(**{field: sub}).count()
    return counts


def test_the_rows_of_these_tests_are_of_every_table(person: EndUser) -> None:
    counts = leading_to(person.pk)
    assert counts.keys() == ROWS.keys()
    assert {label for label, count in counts.items() if not count} == set()


def test_whoever_is_removed_leaves_nothing_that_leads_to_them(person: EndUser) -> None:
    one = Person(person.pk, person.user_id)
    assert remove([one], plan(), reason="cleanup") == [one]
    assert set(leading_to(person.pk).values()) == {0}
    key = DeviceKey.objects.get()
    assert (key.end_user_id, key.retired_at is not None) == (None, True)
    assert Promotion.objects.get().superseded_by_id is None
    assert EndUser.objects.count() == Session.objects.count() == 1
    assert get_user_model().objects.count() == 1


def test_whoever_is_erased_leaves_nothing_and_the_report_names_all_of_it(person: EndUser) -> None:
    now = timezone.now()
    today = {"project": person.project, "day": now.date(), "was_guest": True}
    ActiveDay.objects.create(end_user_id=person.pk, **today)
    AuditEvent.objects.create(category="users", type="x", created_at=now, end_user_id=person.pk, changes={"a": "b"})
    told = erase(person, dry_run=True).removed
    assert erase(person).removed == told
    assert told.keys() == {model._meta.label for model, _field in OURS} | {"anonusers.DeviceKey"}
    assert set(leading_to(person.pk).values()) == {0}
    assert not DeviceKey.objects.exists()
    assert not RealmIdentity.objects.exists()
    for label in WITHOUT_RELATION:
        model, _dot, field = label.rpartition(".")
        assert not apps.get_model(model)._base_manager.filter(**{field: person.pk}).exists(), label


def test_tables_are_emptied_in_their_order_and_on_postgresql_with_one_statement(person: EndUser) -> None:
    with CaptureQueriesContext(connection) as captured:
        remove([Person(person.pk, person.user_id)], plan(), reason="cleanup")
    sqls = [query["sql"] for query in captured.captured_queries]
    tables = [model._meta.db_table for model in (*(model for model, _field in OURS), EndUser, get_user_model())]
    deleting = [sql for sql in sqls if "DELETE FROM" in sql]
    deleted = [table for sql in deleting for table in re.findall(r'DELETE FROM [`"](\w+)[`"]', sql)]
    assert [table for table in deleted if table in tables] == tables
    assert (len(deleting) == 1) == (connection.vendor == "postgresql")
