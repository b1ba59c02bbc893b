"""What of the host hangs on a user: every relation is found, and becomes what was declared for it."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.models.signals import post_delete, pre_delete
from django.test import override_settings

from anonusers.checks import check_guest_data
from anonusers.errors import CleanupRefused
from anonusers.guest_data import Relation, plan, problems, relations
from anonusers.models import CleanupRun, EndUser, Project
from example.models import Comment
from tests.cleaning import all_of, changes, counts, listening, old_guest, run, set_project, snapshot
from tests.people import new_guest

ROOT = Path(__file__).parent.parent.parent
SHOP = {
    "shop.Badge_holders.user": "keep",
    "shop.Basket.user": "keep",
    "shop.Handle.user": "keep",
    "shop.Note.about": "keep",
    "shop.Order.buyer": "keep",
    "shop.Profile.user": "keep",
    "shop.Seat.guest": "keep",
}
DECLARED = {"example.Comment.author": "keep"} | SHOP
User = get_user_model()


@contextmanager
def installed(*names, **declared):
    """With these apps, and the relations that their models have."""
    try:
        with override_settings(INSTALLED_APPS=[*django_settings.INSTALLED_APPS, *names], **declared):
            apps.clear_cache()  # else the user model still knows the relations of before
            yield
    finally:
        apps.clear_cache()


@pytest.fixture(scope="module", autouse=True)
def _shop(django_db_setup, django_db_blocker):
    """The app is installed and has tables for this module only: no other test sees its relations."""
    with installed("tests.shop", ANONUSERS_GUEST_DATA=DECLARED):
        models = list(apps.get_app_config("shop").get_models())
        with django_db_blocker.unblock():
            with connection.schema_editor() as editor:
                for model in models:
                    editor.create_model(model)
            try:
                yield
            finally:
                with connection.schema_editor() as editor:
                    for model in reversed(models):
                        editor.delete_model(model)


@pytest.fixture(autouse=True)
def _at_once(request):
    if "application" in request.fixturenames:
        set_project(request.getfixturevalue("application").project, quarantine_days=0)


def shop(name):
    return apps.get_model("shop", name)


@pytest.fixture
def declare(settings):
    """What is declared otherwise than `keep`; None is not declared at all."""

    def declare(**said):
        declared = DECLARED | {label.replace("__", "."): says for label, says in said.items()}
        settings.ANONUSERS_GUEST_DATA = {label: says for label, says in declared.items() if says is not None}

    return declare


def row_of(label, guest):
    """A row of that relation that leads to the guest."""
    return {
        "shop.Basket.user": lambda: shop("Basket").objects.create(user=guest.user),
        "shop.Order.buyer": lambda: shop("Order").objects.create(buyer=guest.user),
        "shop.Profile.user": lambda: shop("Profile").objects.create(user=guest.user),
        "shop.Badge_holders.user": lambda: badge_of(guest),
        "shop.Seat.guest": lambda: shop("Seat").objects.create(guest=guest),
        "shop.Handle.user": lambda: shop("Handle").objects.create(user=guest.user),
        "shop.Note.about": lambda: shop("Note").objects.create(about=guest.user),
        "example.Comment.author": lambda: Comment.objects.create(author=guest.user, text="Hello"),
    }[label]()


def badge_of(guest):
    badge = shop("Badge").objects.create()
    badge.holders.add(guest.user)
    return badge.holders.through.objects.get(user=guest.user)


def everything():
    """Ours, and the shop's."""
    models = apps.get_app_config("shop").get_models(include_auto_created=True)
    return snapshot() | {model._meta.label: {row["id"]: row for row in model.objects.values()} for model in models}


def different(before):
    """As `changes`, with the shop's rows, which are gone or changed: {id: None} or {id: {column: value}}."""
    after, found = everything(), changes({label: rows for label, rows in before.items() if "shop." not in label})
    for label in (label for label in before if label.startswith("shop.")):
        rows = {
            id: {name: value for name, value in after[label][id].items() if value != row[name]}
            if id in after[label]
            else None
            for id, row in before[label].items()
            if after[label].get(id) != row
        }
        if rows or set(after[label]) - set(before[label]):
            found[label] = rows
    return found


# --- what is found -------------------------------------------------------------------------------


def test_every_relation_is_found():
    found = {
        relation.label: (relation.field, relation.nullable, relation.is_plain, relation.of_end_user)
        for relation in relations()
    }
    assert found == {
        "admin.LogEntry.user": ("user", False, False, False),
        "auth.User_groups.user": ("user", False, True, False),
        "auth.User_user_permissions.user": ("user", False, True, False),
        "example.Comment.author": ("author", False, False, False),
        "portal.Membership.user": ("user", False, False, False),
        "portal.OperatorKey.user": ("user", False, False, False),
        "portal.OperatorToken.user": ("user", False, False, False),
        "shop.Badge_holders.user": ("user", False, False, False),
        "shop.Basket.user": ("user", False, False, False),
        "shop.Handle.user": ("user", False, False, False),
        "shop.Note.about": ("object_id", False, False, False),
        "shop.Order.buyer": ("buyer", True, False, False),
        "shop.Profile.user": ("user", False, False, False),
        "shop.Seat.guest": ("guest", False, False, True),
    }
    assert [relation.content_type for relation in relations() if relation.content_type] == ["content_type"]
    assert problems() == []


def test_the_log_of_djangos_admin_is_declared_already():
    assert problems() == []
    assert {"admin.LogEntry.user", "portal.Membership.user"} <= {relation.label for relation in plan().keep}


def test_a_declaration_may_stand_for_an_app_that_is_not_installed(declare):
    declare(blog__Post__author="delete")
    assert problems() == []


# --- what becomes of them ------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("label", sorted(DECLARED))
def test_keep_keeps_the_guest_with_everything(application, label):
    guest, other = old_guest(application), old_guest(application)
    row = row_of(label, guest)
    expected, before = all_of(other), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected
    row.delete()
    assert counts(run(application.project)) == {"removed": 1}


@pytest.mark.django_db
@pytest.mark.parametrize("label", sorted(SHOP))
def test_delete_removes_the_rows_of_those_who_go_and_no_others(application, declare, label):
    declare(**{label: "delete"})
    guest, here = old_guest(application), new_guest(application)
    row, _theirs = row_of(label, guest), row_of(label, here)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected | {row._meta.label: {row.pk: None}}


@pytest.mark.django_db
def test_delete_removes_what_hangs_on_the_row_and_sends_signals(application, declare):
    declare(shop__Basket__user="delete")
    guest, here = old_guest(application), new_guest(application)
    basket, theirs = (row_of("shop.Basket.user", one) for one in (guest, here))
    line, _ = (shop("Line").objects.create(basket=one) for one in (basket, theirs))
    told = []

    def hear(sender, instance, signal, **_):
        told.append((sender._meta.label, instance.pk, signal is pre_delete))

    for signal in (pre_delete, post_delete):
        signal.connect(hear, sender=shop("Basket"))
        signal.connect(hear, sender=shop("Line"))
    before = everything()
    expected = all_of(guest) | {"shop.Basket": {basket.pk: None}, "shop.Line": {line.pk: None}}
    try:
        basket_id, line_id = basket.pk, line.pk
        assert counts(run(application.project)) == {"removed": 1}
    finally:
        for signal in (pre_delete, post_delete):
            signal.disconnect(hear, sender=shop("Basket"))
            signal.disconnect(hear, sender=shop("Line"))
    assert different(before) == expected
    assert sorted(told) == [
        ("shop.Basket", basket_id, False),
        ("shop.Basket", basket_id, True),
        ("shop.Line", line_id, False),
        ("shop.Line", line_id, True),
    ]


@pytest.mark.django_db
def test_set_null_leaves_the_row_to_nobody(application, declare):
    declare(shop__Order__buyer="set_null")
    guest, here = old_guest(application), new_guest(application)
    order, _ = row_of("shop.Order.buyer", guest), row_of("shop.Order.buyer", here)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected | {"shop.Order": {order.pk: {"buyer_id": None}}}


@pytest.mark.django_db
def test_leave_lets_a_generic_relation_point_into_the_void(application, declare):
    declare(shop__Note__about="leave")
    guest = old_guest(application)
    note = row_of("shop.Note.about", guest)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected
    note = shop("Note").objects.get(pk=note.pk)
    assert note.about is None


@pytest.mark.django_db
def test_a_note_about_something_else_with_the_same_number_keeps_nobody(application):
    guest = old_guest(application)
    group = ContentType.objects.get_for_model(Group)
    shop("Note").objects.create(content_type=group, object_id=str(guest.user_id))
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected


@pytest.mark.django_db
@pytest.mark.parametrize(("says", "outcome"), [("keep", {}), ("delete", {"removed": 1}), ("leave", {"removed": 1})])
def test_a_generic_relation_may_lead_to_an_end_user(application, declare, says, outcome):
    declare(shop__Note__about=says)
    guest, here = old_guest(application), new_guest(application)
    note, _ = (shop("Note").objects.create(about=one) for one in (guest, here))
    gone = (all_of(guest) | ({"shop.Note": {note.pk: None}} if says == "delete" else {})) if outcome else {}
    before = everything()
    assert counts(run(application.project)) == outcome
    assert different(before) == gone


@pytest.mark.django_db
def test_a_function_for_a_generic_relation_gets_the_keys_of_users_and_then_subs(application, declare, asked):
    declare(shop__Note__about=here("keep_who_is_noted"))
    noted, free = old_guest(application), old_guest(application)
    shop("Note").objects.create(about=noted)
    expected, before = all_of(free), everything()
    assert counts(run(application.project)) == {"removed": 1, "forbidden": 1}
    assert different(before) == expected
    both = [noted, free]
    assert list(map(sorted, asked)) == [sorted(one.user_id for one in both), sorted(one.pk for one in both)]


def test_only_a_column_that_takes_a_uuid_leads_to_end_users():
    text = next(relation for relation in relations() if relation.label == "shop.Note.about")
    assert [way.of_end_user for way in text.ways()] == [False, True]
    number = Relation("auth.Group.about", Group, "id", nullable=False, content_type="content_type")
    assert list(number.ways()) == [number]
    assert all(list(one.ways()) == [one] for one in relations() if not one.content_type)


ASKED: list[list[object]] = []


def hand_over(keys):
    """A callback: the baskets go to the shop's own user."""
    ASKED.append(list(keys))
    shop("Basket").objects.filter(user__in=keys).update(user=User.objects.get(username="shop"))


def keep_the_rich(keys):
    """A callback that wants some kept."""
    ASKED.append(list(keys))
    return [basket.user_id for basket in shop("Basket").objects.filter(user__in=keys, text="full")]


def keep_who_is_noted(keys):
    ASKED.append(list(keys))
    named = set(shop("Note").objects.values_list("object_id", flat=True))
    return [key for key in keys if str(key) in named]


def take_the_seats(keys):
    ASKED.append(list(keys))
    shop("Seat").objects.filter(guest__in=keys).delete()
    return ()


def do_nothing(keys):
    return None


@pytest.fixture
def asked():
    ASKED.clear()
    return ASKED


def here(name):
    return f"{__name__}.{name}"


@pytest.mark.django_db
def test_a_function_does_with_the_rows_what_it_likes(application, declare, asked):
    declare(shop__Basket__user=here("hand_over"))
    user = User.objects.create(username="shop")
    guest = old_guest(application)
    basket = row_of("shop.Basket.user", guest)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected | {"shop.Basket": {basket.pk: {"user_id": user.pk}}}
    assert asked == [[guest.user_id]]


@pytest.mark.django_db
def test_a_function_answers_with_those_whom_it_wants_kept(application, declare, asked):
    declare(shop__Basket__user=here("keep_the_rich"))
    rich, poor = old_guest(application), old_guest(application)
    shop("Basket").objects.create(user=rich.user, text="full")
    expected, before = all_of(poor), everything()
    assert counts(run(application.project)) == {"removed": 1, "forbidden": 1}
    assert different(before) == expected
    assert [sorted(keys) for keys in asked] == [sorted([rich.user_id, poor.user_id])]


@pytest.mark.django_db
@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize("limit", [1, 2])
def test_who_is_kept_by_a_function_does_not_stand_in_the_way_of_others(application, declare, asked, batch, limit):
    """Though more are kept than may go in one run, and they come first each time."""
    declare(shop__Basket__user=here("keep_the_rich"))
    guests = sorted((old_guest(application) for _ in range(7)), key=_place)
    for guest in guests[:5]:
        shop("Basket").objects.create(user=guest.user, text="full")
    poor, left = guests[5:], 2
    while left:
        report = run(application.project, limit=limit, batch=batch)
        assert report.counts["removed"] == limit
        left -= limit
    assert not EndUser.objects.filter(pk__in=[guest.pk for guest in poor]).exists()
    assert EndUser.objects.count() == 5
    assert max(len(keys) for keys in asked) <= limit, "nobody is asked about who may not go in this run"


def _place(guest):
    return guest.user_id if connection.vendor == "postgresql" else guest.pk


@pytest.mark.django_db
def test_a_function_for_a_relation_to_our_end_users_gets_subs(application, declare, asked):
    declare(shop__Seat__guest=here("take_the_seats"))
    guest = old_guest(application)
    seat = row_of("shop.Seat.guest", guest)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected | {"shop.Seat": {seat.pk: None}}
    assert asked == [[guest.pk]]


@pytest.mark.django_db
def test_groups_and_permissions_of_a_guest_go_with_them(application):
    guest, here = old_guest(application), new_guest(application)
    group, permission = Group.objects.create(name="guests"), Permission.objects.first()
    for user in (guest.user, here.user):
        user.groups.add(group)
        user.user_permissions.add(permission)
    expected, before = all_of(guest), everything()
    assert counts(run(application.project)) == {"removed": 1}
    assert different(before) == expected
    assert list(group.user_set.all()) == list(permission.user_set.all()) == [here.user]


@pytest.mark.django_db
def test_signals_of_the_user_model_are_sent_where_somebody_listens(application):
    guest, told = old_guest(application), []

    def hear(instance, **_):
        told.append((instance.pk, instance.username))

    post_delete.connect(hear, sender=User)
    expected, before = all_of(guest), everything()
    try:
        assert counts(run(application.project)) == {"removed": 1}
    finally:
        post_delete.disconnect(hear, sender=User)
    assert told == [(guest.user_id, guest.user.username)]
    assert different(before) == expected


# --- what forbids it -----------------------------------------------------------------------------


def hold(how, guest):
    basket = row_of("shop.Basket.user", guest)
    if how != "foreign key":
        shop({"protect": "Deposit", "restrict": "Claim"}[how]).objects.create(basket=basket)


@pytest.mark.django_db
@pytest.mark.parametrize("held", [1, 3, 7], ids=["one", "three", "all"])
@pytest.mark.parametrize("how", ["protect", "restrict", "foreign key"])
def test_who_cannot_be_removed_stays_whole_and_stops_nobody_else(
    application, declare, how, held, django_capture_on_commit_callbacks
):
    declare(shop__Basket__user=here("do_nothing") if how == "foreign key" else "delete")
    guests = sorted((old_guest(application) for _ in range(7)), key=lambda guest: guest.pk)
    for guest in guests[3 : 3 + held] if held < 7 else guests:
        hold(how, guest)
    free = [guest for guest in guests if not shop("Basket").objects.filter(user=guest.user).exists()]
    assert len(free) == 7 - held
    expected, before = all_of(*free), everything()
    with listening("user.deleted") as heard, django_capture_on_commit_callbacks(execute=True):
        report = run(application.project)
    assert counts(report) == {name: n for name, n in (("removed", 7 - held), ("forbidden", held)) if n}
    assert report.state == "finished"
    assert sorted(report.samples) == sorted(str(guest.pk) for guest in free)
    assert different(before) == expected
    assert sorted((type, str(pk)) for type, pk, _ in heard) == sorted(("user.deleted", str(one.pk)) for one in free)


# --- what is not declared, or wrongly ------------------------------------------------------------


def test_each_relation_that_nobody_declared_is_named(declare):
    declare(**dict.fromkeys(DECLARED))
    end = "to a user, and nothing says what becomes of it when a guest is removed."
    assert problems() == [
        f"{label} {'may lead' if label == 'shop.Note.about' else 'leads'} {end}" for label in sorted(DECLARED)
    ]


WRONG = [
    ("shop.Basket.user", "set_null", "shop.Basket.user cannot be set to null: the column does not allow it."),
    ("shop.Note.about", "set_null", "shop.Note.about cannot be set to null: the column does not allow it."),
    (
        "shop.Basket.user",
        "leave",
        "shop.Basket.user cannot be left: the database would refuse to remove the user.",
    ),
    (
        "shop.Basket.user",
        "kepe",
        "shop.Basket.user: 'kepe' is neither keep, delete, set_null, leave nor a function that can be imported.",
    ),
    (
        "shop.Basket.user",
        "shop.nowhere.hand_over",
        "shop.Basket.user: 'shop.nowhere.hand_over' is neither keep, delete, set_null, leave nor a function that can "
        "be imported.",
    ),
    ("shop.Basket.usr", "keep", "shop.Basket.usr is declared, and there is no such relation to a user."),
    ("shop.Line.basket", "keep", "shop.Line.basket is declared, and there is no such relation to a user."),
    (
        "shop.Basket.user",
        None,
        "shop.Basket.user leads to a user, and nothing says what becomes of it when a guest is removed.",
    ),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("label", "says", "problem"), WRONG, ids=[f"{label}={says}" for label, says, _ in WRONG])
def test_what_is_declared_wrongly_is_named_and_nothing_is_removed(application, declare, label, says, problem):
    declare(**{label: says})
    old_guest(application)
    before = everything()
    assert problems() == [problem]
    with pytest.raises(ImproperlyConfigured) as improper:
        plan()
    assert str(improper.value) == problem
    for dry_run in (False, True):
        with pytest.raises(CleanupRefused) as refused:
            run(application.project, dry_run=dry_run)
        assert (refused.value.message, refused.value.code) == (problem, "cleanup_refused")
    with pytest.raises(CommandError) as told:
        call_command("anonusers_cleanup")
    assert (str(told.value), told.value.returncode) == (problem, 1)
    assert (different(before), CleanupRun.objects.count()) == ({}, 0)
    assert (EndUser.objects.count(), Project.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    "says", [5, True, do_nothing, "anonusers.guest_data.KNOWN"], ids=["number", "bool", "function", "not callable"]
)
def test_what_is_no_word_and_no_function_is_named_not_raised(declare, says):
    declare(shop__Basket__user=says)
    [problem] = problems()
    assert problem.startswith("shop.Basket.user: ")


def test_all_problems_are_told_together(declare):
    declare(shop__Basket__user=None, shop__Order__buyer="nowhere", shop__Seat__gest="keep")
    assert [problem.split()[0] for problem in problems()] == ["shop.Basket.user", "shop.Order.buyer:", "shop.Seat.gest"]


# --- the system check ----------------------------------------------------------------------------


def test_the_system_check_has_a_message_for_each_problem(declare):
    assert check_guest_data(None) == []
    declare(shop__Basket__user=None, shop__Order__buyer="nowhere")
    messages = check_guest_data(None)
    assert [message.msg for message in messages] == problems()
    assert {message.id for message in messages} == {"anonusers.E006"}
    assert {"ANONUSERS_GUEST_DATA" in message.hint for message in messages} == {True}


def test_manage_py_check_names_the_relation(declare):
    call_command("check")
    declare(shop__Basket__user=None)
    with pytest.raises(SystemCheckError) as failed:
        call_command("check")
    assert "(anonusers.E006) shop.Basket.user leads to a user, and nothing says" in str(failed.value)
    assert str(failed.value).count("anonusers.E006") == 1


MODELS = """
from django.conf import settings
from django.db import models


class Booking(models.Model):
    guest = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)

    def __str__(self):
        return "booking"
"""
SETTINGS = """
from config.settings import *

# What hangs on users in Django and in its REST framework is declared already.
INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework.authtoken", "bookings"]
ANONUSERS_GUEST_DATA = {declared!r}
"""


@pytest.mark.parametrize("says", [None, "delete"], ids=["undeclared", "declared"])
def test_a_new_model_of_a_host_project_fails_its_check_until_it_is_declared(tmp_path, says):
    (tmp_path / "bookings").mkdir()
    (tmp_path / "bookings" / "__init__.py").write_text("")
    (tmp_path / "bookings" / "models.py").write_text(MODELS)
    declared = {"example.Comment.author": "keep"} | ({"bookings.Booking.guest": says} if says else {})
    (tmp_path / "host_settings.py").write_text(SETTINGS.format(declared=declared))
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
        "DJANGO_SETTINGS_MODULE": "host_settings",
        "SECRET_KEY": "of this test only, of this test only",
        "DATABASE_URL": "sqlite://:memory:",
        "VAR_DIR": str(tmp_path / "var"),
    }
    words = [sys.executable, str(ROOT / "manage.py")]
    checked = subprocess.run(
        [*words, "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if says:
        assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    else:
        assert checked.returncode == 1
        assert (
            "(anonusers.E006) bookings.Booking.guest leads to a user, and nothing says what becomes of it when a guest "
            "is removed.\n\tHINT: Declare it in ANONUSERS_GUEST_DATA"
        ) in checked.stderr
        assert checked.stderr.count("anonusers.E006") == 1
