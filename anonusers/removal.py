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
from anonusers.models import AnonymousIdentity, DeviceKey, EndUser, LoginID, OneTimeToken, Promotion, Session

OURS: tuple[tuple[type[Model], str], ...] = (
    (OneTimeToken, "end_user"),
    (Session, "end_user"),
    (LoginID, "end_user"),
    (Promotion, "end_user"),
    (AnonymousIdentity, "end_user"),
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
    for relation in plan.plain:
        delete_in(relation.model, relation.field, _keys(relation, ids, users))
    for model, field in OURS:
        delete_in(model, field, ids)
    DeviceKey.objects.filter(end_user__in=ids).update(end_user=None, retired_at=timezone.now())
    Promotion.objects.filter(superseded_by__in=ids).update(superseded_by=None)
    delete_in(EndUser, "id", ids)
    if not keep_users:
        _delete_users(users)
    _check_foreign_keys()
    return list(people)


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


def _delete_users(keys: list[Any]) -> None:
    model = get_user_model()
    is_plain_table = not model._meta.parents and not any(
        isinstance(field, GenericRelation) for field in model._meta.private_fields
    )
    listens = any(signal.has_listeners(model) for signal in (pre_delete, post_delete))
    children = any(field.one_to_one and field.field.remote_field.parent_link for field in model._meta.related_objects)
    if is_plain_table and not listens and not children:
        delete_in(model, model._meta.pk.name, keys)
    else:
        model._default_manager.filter(pk__in=keys).delete()


def delete_in(model: type[Any], field: str, keys: Sequence[Any]) -> int:
    """Delete the rows whose `field` is one of these, and nothing that hangs on them: one statement."""
    if not keys:
        return 0
    database = router.db_for_write(model)
    column = model._meta.get_field(field)
    if connections[database].vendor != "postgresql":
        return int(model._base_manager.using(database).filter(**{f"{field}__in": keys})._raw_delete(database))
    with connections[database].cursor() as cursor:  # an array is one parameter, and one plan for every length
        cursor.execute(
            f'DELETE FROM "{model._meta.db_table}" WHERE "{column.column}" = ANY(%s)',  # noqa: S608 - names of ours
            [list(keys)],
        )
        return int(cursor.rowcount)
