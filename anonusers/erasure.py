"""Erase a person who asked for it: everything of theirs goes, and a report says what went."""

from collections import Counter
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import Q

from anonusers import audit, statistics
from anonusers.adapters import get_adapter
from anonusers.errors import CleanupRefused, ErasureForbidden
from anonusers.guest_data import Person, Plan, Relation, plan
from anonusers.models import DeviceKey, EndUser
from anonusers.removal import OURS, remove


@dataclass(frozen=True)
class Erasure:
    """`removed` and `kept` count rows by model (`app.Model`) or relation. Where the host keeps something of theirs,
    its row of the person stays without anything that names them: `is_emptied`."""

    sub: str
    removed: dict[str, int]
    kept: dict[str, int]
    is_emptied: bool


def erase(end_user: EndUser, *, dry_run: bool = False) -> Erasure:
    """Remove a person, guest or regular, in one transaction: sessions, the key without leaving a tombstone, identities,
    login IDs, secrets, and what the host declared as to be removed with them.

    Raises: CleanupRefused, where it is not declared what becomes of the host's data; ErasureForbidden, where the host's
    database or code holds them.
    """
    try:
        rules = plan()
    except ImproperlyConfigured as error:
        raise CleanupRefused(str(error)) from error
    with transaction.atomic():
        locked = EndUser.objects.select_for_update().filter(pk=end_user.pk).first()
        if locked is None:
            return Erasure(str(end_user.pk), {}, {}, is_emptied=False)
        person = Person(locked.pk, locked.user_id)
        found = _count(person, rules)
        if not dry_run:
            _erase(person, locked, rules, is_emptied=bool(found.kept))
    return found


def _count(person: Person, rules: Plan) -> Erasure:
    removed: Counter[str] = Counter()
    for model, field in OURS:
        removed[model._meta.label] += model._base_manager.filter(Q((field, person.id))).count()
    removed[DeviceKey._meta.label] += DeviceKey.objects.filter(end_user=person.id).count()
    for relation in (*rules.delete, *rules.set_null, *rules.plain):
        removed[relation.label] += _rows(relation, person)
    kept: Counter[str] = Counter()
    for relation in rules.keep:
        kept[relation.label] += _rows(relation, person)  # a generic relation leads to a user or to an end user
    return Erasure(str(person.id), _told(removed), _told(kept), is_emptied=bool(_told(kept)))


def _told(counts: Counter[str]) -> dict[str, int]:
    return {label: count for label, count in counts.items() if count}


def _erase(person: Person, locked: EndUser, rules: Plan, *, is_emptied: bool) -> None:
    # The tombstone goes, too: a public key is somebody's.
    DeviceKey.objects.filter(end_user=person.id).delete()
    statistics.count_out(locked.project, [person.id])
    audit.forget(person.id)
    user = locked.user
    if not remove([person], rules, reason="erasure", keep_users=is_emptied):
        raise ErasureForbidden
    if is_emptied:
        get_adapter().forget(user)


def _rows(relation: Relation, person: Person) -> int:
    return relation.rows([person.id if relation.of_end_user else person.user_id]).count()
