"""What of the host hangs on a user, and what becomes of it when a guest is removed: declared for every relation, or
nothing is removed."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.db.models import CharField, Model, QuerySet, TextField, UUIDField
from django.utils.module_loading import import_string

from anonusers.conf import conf
from anonusers.models import EndUser

KEEP, DELETE, SET_NULL, LEAVE = "keep", "delete", "set_null", "leave"
WORDS = (KEEP, DELETE, SET_NULL, LEAVE)
KNOWN = {
    "account.EmailAddress.user": DELETE,
    "admin.LogEntry.user": KEEP,
    "authtoken.Token.user": DELETE,
    "mfa.Authenticator.user": DELETE,
    "portal.Membership.user": KEEP,
    "portal.OperatorKey.user": KEEP,
    "portal.OperatorToken.user": KEEP,
    "socialaccount.SocialAccount.user": DELETE,
    "usersessions.UserSession.user": DELETE,
}
"""Of Django, Django REST Framework, allauth (a guest has these only while a sign-up waits for its mail) and our portal;
the host's declarations go before."""

Callback = Callable[[list[Any]], Iterable[Any] | None]
"""A function of the host: gets the keys of guests who are about to go, does what it has to, and answers with those whom
it wants kept. It runs in the transaction that removes them, and is called again, about some of the same, where that
transaction had to be taken back: because the database refuses one of a batch, or a row was in use. Dry runs and
forecasts do not ask it."""


@dataclass(frozen=True)
class Person:
    """`id` is the sub, `user_id` the key of the host's row."""

    id: uuid.UUID
    user_id: Any


@dataclass(frozen=True)
class Relation:
    """A foreign key (or one-to-one) of `model` to a user. `label` is `app.Model.field`.

    `is_plain`: the hidden table of a many-to-many field of the user model itself, such as its groups.
    `of_end_user`: it leads to our `EndUser`, else to AUTH_USER_MODEL. `content_type` is the other half of a generic
    foreign key, which may lead to a user, an end user (see `ways`) or anything else.
    """

    label: str
    model: type[Model]
    field: str
    nullable: bool
    is_plain: bool = False
    of_end_user: bool = False
    content_type: str = ""

    @property
    def target(self) -> str:
        """The look-up that names the primary key of who is led to, also where the column holds something else
        (`to_field`)."""
        return self.field if self.content_type else f"{self.field}__pk"

    def rows(self, keys: list[Any]) -> "QuerySet[Model]":
        """The rows that lead to these users, or end users, by their primary keys."""
        return self.model._base_manager.filter(**self._leads_here(), **{f"{self.target}__in": keys})

    def led_to(self, keys: list[Any]) -> set[str]:
        """Those of these keys that a row leads to, as text: a generic relation may hold them so."""
        column: Any = self.model._meta.get_field(self.field)
        connection = connections[router.db_for_write(self.model)]
        if connection.vendor != "postgresql" or self.content_type or not column.target_field.primary_key:
            return {str(key) for key in self.rows(keys).values_list(self.target, flat=True)}
        prepared = [column.target_field.get_db_prep_value(key, connection) for key in keys]
        quote = connection.ops.quote_name
        with connection.cursor() as cursor:  # an array is one parameter, and one plan for every length
            cursor.execute(
                f"SELECT {quote(column.column)} FROM {quote(self.model._meta.db_table)}"  # noqa: S608 - names of models
                f" WHERE {quote(column.column)} = ANY(%s)",
                [prepared],
            )
            found = {key for (key,) in cursor.fetchall()}
        return {str(key) for key, value in zip(keys, prepared, strict=True) if value in found} if found else set()

    def _leads_here(self) -> dict[str, Any]:
        if not self.content_type:
            return {}
        from django.contrib.contenttypes.models import ContentType

        return {self.content_type: ContentType.objects.get_for_model(EndUser if self.of_end_user else get_user_model())}

    def ways(self) -> "Iterator[Relation]":
        """Itself; a generic one may lead to a user of the host, and to an end user where its column takes a UUID."""
        yield self
        if self.content_type and isinstance(self.model._meta.get_field(self.field), CharField | TextField | UUIDField):
            yield replace(self, of_end_user=True)


@dataclass(frozen=True)
class Plan:
    """Every relation with what becomes of it."""

    keep: tuple[Relation, ...]
    delete: tuple[Relation, ...]
    set_null: tuple[Relation, ...]
    callbacks: tuple[tuple[Relation, Callback], ...]
    plain: tuple[Relation, ...]


def relations() -> list[Relation]:
    """Every relation from a host's table to a user, also from third-party apps and hidden many-to-many tables."""
    user_model = get_user_model()
    found = [*_of(user_model, of_end_user=False), *_of(EndUser, of_end_user=True), *_generic()]
    return sorted(found, key=lambda relation: relation.label)


def _of(target: type[Model], *, of_end_user: bool) -> Iterator[Relation]:
    own_tables = {field.remote_field.through for field in target._meta.many_to_many}
    for one in target._meta.get_fields(include_hidden=True):
        if not one.auto_created or one.concrete or not (one.one_to_many or one.one_to_one):
            continue
        model: Any = one.related_model
        if model._meta.app_label == "anonusers" or model._meta.proxy:
            continue
        field: Any = one.field  # type: ignore[union-attr]
        if field.remote_field.parent_link:
            continue  # a child table of the user model: deleted with it
        yield Relation(
            label=f"{model._meta.label}.{field.name}",
            model=model,
            field=field.name,
            nullable=field.null,
            is_plain=bool(model._meta.auto_created) and model in own_tables,
            of_end_user=of_end_user,
        )


def _generic() -> Iterator[Relation]:
    if not apps.is_installed("django.contrib.contenttypes"):
        return
    from django.contrib.contenttypes.fields import GenericForeignKey

    for model in apps.get_models():
        for field in model._meta.private_fields:
            if isinstance(field, GenericForeignKey):
                column: Any = model._meta.get_field(field.fk_field)
                label = f"{model._meta.label}.{field.name}"
                yield Relation(label, model, field.fk_field, column.null, content_type=field.ct_field)


def declarations() -> dict[str, str]:
    return {**KNOWN, **conf.GUEST_DATA}


def problems() -> list[str]:
    """What is wrong with the declarations, one sentence each; empty where a clean-up may run."""
    found, declared, known = [], declarations(), {relation.label: relation for relation in relations()}
    for label, relation in known.items():
        says = declared.get(label)
        if says is None and not relation.is_plain:
            verb = "may lead" if relation.content_type else "leads"
            found.append(f"{label} {verb} to a user, and nothing says what becomes of it when a guest is removed.")
        elif says == SET_NULL and not relation.nullable:
            found.append(f"{label} cannot be set to null: the column does not allow it.")
        elif says == LEAVE and not relation.content_type:
            found.append(f"{label} cannot be left: the database would refuse to remove the user.")
        elif says is not None and says not in WORDS and not _is_function(says):
            found.append(
                f"{label}: {says!r} is neither keep, delete, set_null, leave nor a function that can be imported."
            )
    for label in conf.GUEST_DATA:
        if label not in known and not _is_absent_app(label):
            found.append(f"{label} is declared, and there is no such relation to a user.")
    return found


def _is_function(path: Any) -> bool:
    try:
        return callable(import_string(path))
    except (ImportError, AttributeError):
        return False


def _is_absent_app(label: str) -> bool:
    """A declaration may stand for an app that is not installed everywhere."""
    return label.partition(".")[0] not in {config.label for config in apps.get_app_configs()}


def plan() -> Plan:
    """Raises: ImproperlyConfigured, naming every relation that is not declared."""
    if wrong := problems():
        raise ImproperlyConfigured(" ".join(wrong))
    declared, every = declarations(), relations()
    plain = tuple(relation for relation in every if relation.is_plain and relation.label not in declared)
    said = [(way, declared[relation.label]) for relation in every if relation not in plain for way in relation.ways()]

    def those(word: str) -> tuple[Relation, ...]:
        return tuple(relation for relation, says in said if says == word)

    functions = [(relation, says) for relation, says in said if says not in WORDS]
    return Plan(
        keep=those(KEEP),
        delete=those(DELETE),
        set_null=those(SET_NULL),
        callbacks=tuple((relation, import_string(says)) for relation, says in functions),
        plain=plain,
    )
