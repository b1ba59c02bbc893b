"""Remove people, with all that is theirs: by the clean-up in batches, or one person who asked for it."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.fields import GenericRelation
from django.db import IntegrityError, connections, router, transaction
from django.db.models import Model
from django.db.models.deletion import ProtectedError, RestrictedError
from django.db.models.signals import post_delete, pre_delete
from django.utils import timezone

from anonusers import events
from anonusers.guest_data import Person, Plan, Relation, relations
from anonusers.models import (
    AnonymousIdentity,
    ApiKey,
    DeviceKey,
    EndUser,
    LoginID,
    OneTimeToken,
    Promotion,
    RealmIdentity,
    RealmUser,
    Session,
)

OURS: tuple[tuple[type[Model], str], ...] = (
    (OneTimeToken, "end_user"),
    (Session, "end_user"),
    (LoginID, "end_user"),
    (Promotion, "end_user"),
    (ApiKey, "end_user"),
    (RealmIdentity, "end_user"),
    (RealmUser, "end_user"),
    (AnonymousIdentity, "end_user"),
)
"""Our tables that hold what is somebody's, and the field that says whose, in the order in which they are emptied: what
goes with a person, and what an erasure reports. Beside them a device key is retired, and `superseded_by` let go."""

RETIRE = 'UPDATE "{}" SET end_user_id = NULL, retired_at = %(now)s WHERE end_user_id = ANY(%(ids)s)'
FORGET_WHO_CAME = (
    'UPDATE "{}" SET superseded_by_id = NULL WHERE superseded_by_id = ANY(%(ids)s) AND end_user_id <> ALL(%(ids)s)'
)


def remove(people: Sequence[Person], plan: Plan, *, reason: str, keep_users: bool = False) -> list[Person]:
    """Remove these people, whose rows the caller has locked. Returns those who are gone. To `keep_users` leaves the
    host's own rows of them.

    Who cannot be removed, because the host's database or code forbids it, stays whole; the others go.
    """
    if not people:
        return []
    try:
        with transaction.atomic():
            gone = _remove(people, plan, keep_users=keep_users)
    except (ProtectedError, RestrictedError, IntegrityError):
        if len(people) == 1:
            return []
        half = len(people) // 2
        return [
            *remove(people[:half], plan, reason=reason, keep_users=keep_users),
            *remove(people[half:], plan, reason=reason, keep_users=keep_users),
        ]
    if events.SIGNALS["user.deleted"].receivers:
        for person in gone:
            events.emit(events.Event("user.deleted", EndUser(id=person.id), details={"reason": reason}))
    return gone


def _remove(people: Sequence[Person], plan: Plan, *, keep_users: bool) -> list[Person]:
    people = _ask(people, plan)
    ids, users = [person.id for person in people], [person.user_id for person in people]
    for relation in plan.set_null:
        relation.rows(_keys(relation, ids, users)).update(**{relation.field: None})
    for relation in plan.delete:
        relation.rows(_keys(relation, ids, users)).delete()  # as the host's models say it: with what hangs on them
    with_users = not keep_users and _is_plain_user()
    if connections[router.db_for_write(EndUser)].vendor == "postgresql":
        _remove_at_once(ids, users, plan, with_users=with_users)
    else:
        _remove_by_table(ids, users, plan, with_users=with_users)
    if not keep_users and not with_users:
        get_user_model()._default_manager.filter(pk__in=users).delete()
    _check_foreign_keys()
    return list(people)


def _remove_by_table(ids: list[Any], users: list[Any], plan: Plan, *, with_users: bool) -> None:
    tables = [(relation.model, relation.field, _keys(relation, ids, users)) for relation in plan.plain]
    tables += [(model, field, ids) for model, field in OURS]
    DeviceKey.objects.filter(end_user__in=ids).update(end_user=None, retired_at=timezone.now())
    Promotion.objects.filter(superseded_by__in=ids).update(superseded_by=None)
    tables += [(EndUser, "id", ids), *([(get_user_model(), "pk", users)] if with_users else [])]
    for model, field, keys in tables:
        database = router.db_for_write(model)
        model._base_manager.using(database).filter(**{f"{field}__in": keys})._raw_delete(database)


def _remove_at_once(ids: list[Any], users: list[Any], plan: Plan, *, with_users: bool) -> None:
    """One statement for PostgreSQL. Its parts see the same rows, in no order: none may change what another deletes."""
    connection = connections[router.db_for_write(EndUser)]
    deleted: list[tuple[Any, str, str]] = [
        (one.model, one.field, "ids" if one.of_end_user else "users") for one in plan.plain
    ]
    deleted += [(model, field, "ids") for model, field in (*OURS, (EndUser, "id"))]
    deleted += [(get_user_model(), "pk", "users")] if with_users else []
    parts = [_delete(model, field, keys) for model, field, keys in deleted]
    parts.append(RETIRE.format(DeviceKey._meta.db_table))
    named = ", ".join(f"part_{number} AS ({part})" for number, part in enumerate(parts))
    statement = f"WITH {named} {FORGET_WHO_CAME.format(Promotion._meta.db_table)}"
    user_key: Any = get_user_model()._meta.pk
    prepared = [user_key.get_db_prep_value(key, connection) for key in users]
    with connection.cursor() as cursor:
        cursor.execute(statement, {"ids": ids, "users": prepared, "now": timezone.now()})


def _delete(model: type[Model], field: str, keys: str) -> str:
    column: Any = model._meta.pk if field == "pk" else model._meta.get_field(field)
    return f'DELETE FROM "{model._meta.db_table}" WHERE "{column.column}" = ANY(%({keys})s)'  # noqa: S608 - names of ours


def _check_foreign_keys() -> None:
    """Now, not at the commit: whoever something still hangs on must not spoil it for the others."""
    connection = connections[router.db_for_write(EndUser)]
    if connection.vendor == "postgresql":
        connection.check_constraints()
    elif connection.vendor == "sqlite":
        connection.check_constraints(table_names={relation.model._meta.db_table for relation in relations()})


def _ask(people: Sequence[Person], plan: Plan) -> Sequence[Person]:
    """The host's functions get the keys, do what they have to, and answer with those that they want kept."""
    for relation, function in plan.callbacks:
        of_end_user = relation.of_end_user
        kept = set(function([person.id if of_end_user else person.user_id for person in people]) or ())
        people = [person for person in people if (person.id if of_end_user else person.user_id) not in kept]
    return people


def _keys(relation: Relation, ids: list[Any], users: list[Any]) -> list[Any]:
    return ids if relation.of_end_user else users


def _is_plain_user() -> bool:
    """Whether a row of the host's user model is gone with a DELETE: nothing hangs on it in other tables that Django
    deletes, and nobody wants to hear of it."""
    model = get_user_model()
    if model._meta.parents or any(isinstance(field, GenericRelation) for field in model._meta.private_fields):
        return False
    listens = any(signal.has_listeners(model) for signal in (pre_delete, post_delete))
    children = any(field.one_to_one and field.field.remote_field.parent_link for field in model._meta.related_objects)
    return not listens and not children
