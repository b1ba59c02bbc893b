"""What the audit log says, in plain words: one sentence an event, and what changed from what to what.

A type that is not known here is told by its own name, so that nothing a newer part of the software writes is hidden.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from anonusers.models import Application, AuditEvent, Project
from portal.changes import in_words, label_for
from portal.durations import in_words as duration
from portal.models import Membership

LONGEST = 300
"""Characters of a value that are shown."""

# {actor}, {target} and {user} are links; other names are facts of the event.
SENTENCES: dict[str, Any] = {
    "project.created": _("{actor} made the project"),
    "project.changed": _("{actor} changed {settings} of {target}"),
    "application.created": _("{actor} made {target}"),
    "application.changed": _("{actor} changed {settings} of {target}"),
    "application.deleted": _("{actor} deleted {target}"),
    "draft.changed": _("{actor} drafted {settings} of {target}"),
    "draft.discarded": _("{actor} discarded drafted changes of {target}"),
    "deployment.created": _("{actor} deployed changes: {target}"),
    "deployment.rolled_back": _("{actor} rolled back to the state before deployment {rolled_back_to}: {target}"),
    "review.enabled": _("{actor} turned on that changes wait for a review"),
    "review.disabled": _("{actor} turned off that changes wait for a review"),
    "realm.imported": _("{actor} imported the directory of a Realm app"),
    "keys.rotated": _("{actor} rotated the signing keys"),
    "users.exported": _("{actor} exported the list of users"),
    "audit.exported": _("{actor} exported the audit log"),
    "users.bulk_disabled": _("{actor} disabled several users: {target}"),
    "users.bulk_enabled": _("{actor} enabled several users: {target}"),
    "users.bulk_sessions_ended": _("{actor} ended the sessions of several users: {target}"),
    "users.bulk_deleted": _("{actor} deleted several users: {target}"),
    "users.bulk_cancelled": _("{actor} cancelled a bulk action: {target}"),
    "users.bulk_retried": _("{actor} retried a bulk action: {target}"),
    "user.created": _("{actor} created the guest {user}"),
    "user.disabled": _("{actor} disabled {user}"),
    "user.enabled": _("{actor} enabled {user}"),
    "user.deleted": _("{actor} deleted {user}"),
    "user.restored": _("{actor} took {user} out of quarantine"),
    "session.revoked": _("{actor} ended a session of {user}"),
    "sessions.revoked": _("{actor} ended all sessions of {user}"),
    "device_key.removed": _("{actor} removed the device key of {user}"),
    "user.promotion.started": _("The guest {user} asked to keep the account"),
    "user.adopted": _("{user}, who had an account before, became an end user"),
    "users.adopted": _("Users who had accounts before became end users"),
    "user.created_with_address": _("{actor} created the user {user}"),
    "user.reset_mailed": _("{actor} mailed {user} a link for a new password"),
    "registration.confirmed": _("{actor} confirmed the address of {target}"),
    "registration.mailed": _("{actor} sent the confirmation mail to {target} once more"),
    "registration.removed": _("{actor} removed {target}"),
    "user.registered": _("{user} registered and logged in for the first time"),
    "user.api_key.created": _("An API key was made for {user}: {name}"),
    "user.api_key.removed": _("An API key of {user} was removed: {name}"),
    "users.realm_imported": _("Users of a Realm app were imported"),
    "user.realm_token_adopted": _("An old token of a Realm app brought the guest {user} back"),
    "user.anonymous.promoted": _("The guest {user} became a regular user"),
    "user.anonymous.superseded": _("The guest {anonymous_user} logged in to the account of {user}"),
    "user.device_key.added": _("A device key was added to {user}"),
    "user.device_key.removed": _("The device key of {user} was removed"),
    "user.login_id.added": _("{user} got another way to log in"),
    "user.login_id.verified": _("{user} proved a login ID to be theirs"),
    "user.login_id.removed": _("A login ID of {user} was removed"),
    "user.password.changed": _("{user} got a new password"),
    "session.refresh_token_reused": _(
        "An old refresh token of {user} came back: the session was ended, somebody may have copied it"
    ),
    "session.authorization_code_reused": _(
        "A used authorization code of {user} came back: the session was ended, somebody may have copied it"
    ),
    "member.added": _("{actor} added {target} to the team as {role}"),
    "member.invited": _("{actor} invited {target} to the team as {role}"),
    "member.role_changed": _("{actor} changed the role of {target} from {old} to {new}"),
    "member.removed": _("{actor} removed {target} from the team"),
}
TITLES: dict[str, Any] = {
    "project.created": _("Project made"),
    "project.changed": _("Project setting changed"),
    "application.created": _("Application made"),
    "application.changed": _("Application setting changed"),
    "application.deleted": _("Application deleted"),
    "draft.changed": _("Draft changed"),
    "draft.discarded": _("Draft discarded"),
    "deployment.created": _("Changes deployed"),
    "review.enabled": _("Review turned on"),
    "review.disabled": _("Review turned off"),
    "realm.imported": _("Realm app imported"),
    "keys.rotated": _("Signing keys rotated"),
    "users.exported": _("Users exported"),
    "audit.exported": _("Audit log exported"),
    "users.bulk_disabled": _("Several users disabled"),
    "users.bulk_enabled": _("Several users enabled"),
    "users.bulk_sessions_ended": _("Sessions of several users ended"),
    "users.bulk_deleted": _("Several users deleted"),
    "users.bulk_cancelled": _("Bulk action cancelled"),
    "users.bulk_retried": _("Bulk action retried"),
    "user.created": _("Guest created by an operator"),
    "user.disabled": _("User disabled"),
    "user.enabled": _("User enabled"),
    "user.deleted": _("User deleted"),
    "user.restored": _("Guest taken out of quarantine"),
    "session.revoked": _("Session ended by an operator"),
    "sessions.revoked": _("All sessions ended by an operator"),
    "device_key.removed": _("Device key removed by an operator"),
    "user.promotion.started": _("Promotion started"),
    "user.adopted": _("User adopted"),
    "users.adopted": _("Users adopted"),
    "user.created_with_address": _("User created by an operator"),
    "user.reset_mailed": _("Password reset mailed by an operator"),
    "registration.confirmed": _("Registration confirmed by an operator"),
    "registration.mailed": _("Confirmation mailed by an operator"),
    "registration.removed": _("Registration removed by an operator"),
    "user.registered": _("User registered"),
    "user.api_key.created": _("API key created"),
    "user.api_key.removed": _("API key removed"),
    "users.realm_imported": _("Realm users imported"),
    "user.realm_token_adopted": _("Realm token adopted"),
    "user.anonymous.promoted": _("Guest promoted"),
    "user.device_key.added": _("Device key added"),
    "user.device_key.removed": _("Device key removed"),
    "user.login_id.added": _("Login ID added"),
    "user.login_id.verified": _("Login ID verified"),
    "user.login_id.removed": _("Login ID removed"),
    "user.password.changed": _("Password changed"),
    "session.refresh_token_reused": _("Old refresh token used again"),
    "session.authorization_code_reused": _("Authorization code used again"),
    "member.added": _("Member added"),
    "member.invited": _("Member invited"),
    "member.role_changed": _("Role changed"),
    "member.removed": _("Member removed"),
}
"""The types that can be filtered by."""

FACTS: dict[str, Any] = {
    "action": _("Action"),
    "anonymous_user": _("Guest"),
    "application": _("Application"),
    "at_once": _("The old keys were dropped at once"),
    "by_host": _("By the host's own pages"),
    "claimed": _("What was set up without proof has gone"),
    "domains": _("Hosts"),
    "filters": _("Filters"),
    "framework": _("Framework"),
    "guests": _("Guests"),
    "job": _("Job"),
    "key_id": _("Key ID"),
    "login_id_type": _("With"),
    "login_ids": _("Login IDs"),
    "method": _("Method"),
    "name": _("Name"),
    "new": _("New"),
    "note": _("Note"),
    "outcome": _("Outcome"),
    "people": _("People"),
    "providers": _("Providers"),
    "reason": _("Reason"),
    "regular": _("Regular users"),
    "removed": _("Removed"),
    "role": _("Role"),
    "rolled_back_to": _("Rolled back to the state before"),
    "sessions": _("Sessions"),
    "strategy": _("Strategy"),
    "type": _("Type"),
    "users": _("Users"),
    "verified": _("Verified"),
}
ROLES = dict(Membership.Role.choices)


@dataclass(frozen=True)
class Part:
    """A piece of a sentence, and where it leads."""

    text: str
    url: str = ""

    @property
    def html(self) -> SafeString:
        if self.url:
            return format_html('<a class="told__part" href="{}">{}</a>', self.url, self.text)
        return format_html('<b class="told__part">{}</b>', self.text)


@dataclass(frozen=True)
class Difference:
    """One value before and after, item by item."""

    label: str
    old: list[str]
    new: list[str]


@dataclass(frozen=True)
class Told:
    """An event in words."""

    pattern: str
    parts: dict[str, Part]
    differences: list[Difference] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.pattern.format(**{name: part.text for name, part in self.parts.items()})

    @property
    def html(self) -> SafeString:
        return format_html(self.pattern, **{name: part.html for name, part in self.parts.items()})


class Teller:
    """Tells the events of one project; it has looked up the names of the applications once."""

    def __init__(self, project: Project) -> None:
        self.slug = project.slug
        rows = Application.objects.filter(project=project).values_list("client_id", "name")
        self.names = {f"application:{client_id}": name for client_id, name in rows}

    def tell(self, event: AuditEvent) -> Told:
        """The event in words. Never raises for what somebody else may have written into it."""
        changes = event.changes if isinstance(event.changes, dict) else {}
        differences = _differences(event, changes)
        pattern, used = self._pattern(event, changes, differences)
        parts = self._parts(event, changes, differences)
        if pattern is None or not _fits(pattern, parts):
            pattern, used = gettext("{actor}: {type} {target}"), set()
        shown = [] if differences and ("{from}" in pattern or "{old}" in pattern) else differences
        facts = [] if differences else _facts(changes, used)
        return Told(str(pattern), parts, shown, facts)

    def _pattern(
        self, event: AuditEvent, changes: Mapping[str, Any], differences: list[Difference]
    ) -> tuple[Any, set[str]]:
        """How the event is told, and which of its facts that says already."""
        type = event.type
        if type == "deployment.created" and "rolled_back_to" in changes:
            return SENTENCES["deployment.rolled_back"], {"rolled_back_to"}
        if type == "user.anonymous.promoted" and changes.get("anonymous_user"):
            return SENTENCES["user.anonymous.superseded"], {"anonymous_user"}
        if type.endswith(".changed") and len(differences) == 1 and _is_short(differences[0]):
            verb = _("{actor} drafted {settings} of {target}: from {from} to {to}")
            return (
                verb if type == "draft.changed" else _("{actor} changed {settings} of {target} from {from} to {to}")
            ), set()
        said = {"role"} if type in ("member.added", "member.invited") else set()
        said |= {"name"} if type.startswith("user.api_key.") else set()
        return SENTENCES.get(type), said | ({"reason"} if type.endswith("_reused") else set())

    def _parts(self, event: AuditEvent, changes: Mapping[str, Any], differences: list[Difference]) -> dict[str, Part]:
        parts = {
            "actor": self._actor(event),
            "target": self._target(event.target),
            "type": Part(event.type),
            "user": self._user(event),
            "settings": Part(_settings(differences)),
        }
        if len(differences) == 1:
            parts |= {"from": Part(_line(differences[0].old)), "to": Part(_line(differences[0].new))}
        if event.type == "member.role_changed" and differences:
            parts |= {"old": parts["from"], "new": parts["to"]}
        for name in ("role", "rolled_back_to", "anonymous_user", "name"):
            if isinstance(value := changes.get(name), str):
                parts[name] = Part(str(ROLES.get(value, value)) if name == "role" else value)
        return parts

    def _actor(self, event: AuditEvent) -> Part:
        if not event.actor_name:
            return Part(gettext("The server"))
        return Part(event.actor_name, self._here("actor", event.actor_name))

    def _user(self, event: AuditEvent) -> Part:
        if event.end_user_id is None:
            return Part(gettext("somebody"))
        return Part(str(event.end_user_id), reverse("portal:user", args=[self.slug, event.end_user_id]))

    def _target(self, target: str) -> Part:
        if not target:
            return Part("")
        kind, _colon, rest = target.partition(":")
        words = {
            "project": gettext("the project"),
            "application": gettext("application %(name)s") % {"name": self.names.get(target, rest)},
            "deployment": gettext("deployment #%(number)s") % {"number": rest},
            "job": gettext("job #%(number)s") % {"number": rest},
            "registration": gettext("registration %(id)s") % {"id": rest},
            "session": gettext("session %(id)s") % {"id": rest},
        }
        return Part(words.get(kind, target) if rest or kind == "project" else target, self._here("target", target))

    def _here(self, name: str, value: str) -> str:
        return reverse("portal:audit", args=[self.slug], query={name: value})


def _fits(pattern: Any, parts: Mapping[str, Part]) -> bool:
    try:
        return bool(str(pattern).format(**{name: part.text for name, part in parts.items()}))
    except (KeyError, IndexError, ValueError):
        return False


def _settings(differences: list[Difference]) -> str:
    if len(differences) <= 1:
        return differences[0].label.removesuffix("?") if differences else gettext("settings")
    return ngettext("%(count)d setting", "%(count)d settings", len(differences)) % {"count": len(differences)}


def _is_short(difference: Difference) -> bool:
    return len(difference.old) == len(difference.new) == 1 and len(difference.old[0]) + len(difference.new[0]) <= 80


def _line(items: Iterable[str]) -> str:
    return ", ".join(items)


# --- values ---------------------------------------------------------------------------------------


def _differences(event: AuditEvent, changes: Mapping[str, Any]) -> list[Difference]:
    """What went from what to what; empty where the event holds plain facts."""
    is_change = event.category in ("settings", "team") and not event.type.endswith((".created", ".deleted"))
    if not is_change or not all(isinstance(pair, list) and len(pair) == 2 for pair in changes.values()):
        return []
    if event.type == "member.role_changed":
        return [
            Difference(gettext("Role"), *([str(ROLES.get(role, role))] for role in pair)) for pair in changes.values()
        ]
    model = Application if event.target.startswith("application:") else Project
    return [Difference(label_for(model, name), *_sides(model, name, pair)) for name, pair in changes.items()]


def _sides(model: Any, name: str, pair: list[Any]) -> tuple[list[str], list[str]]:
    """Both values; of two lists only what came and what went."""
    old, new = pair
    if isinstance(old, list) and isinstance(new, list) and old and new and set(map(str, old)) != set(map(str, new)):
        old, new = [one for one in old if one not in new], [one for one in new if one not in old]
        return (_value(model, name, old) if old else []), (_value(model, name, new) if new else [])
    return _value(model, name, old), _value(model, name, new)


def _value(model: Any, name: str, value: Any) -> list[str]:
    if name.endswith(("_lifetime", "_timeout")) and isinstance(value, int) and value >= 0:
        return [duration(value)]
    if name == "max_concurrent_sessions":
        value = bool(value)
    try:
        return [_cut(item) for item in in_words(model, name, value)]
    except (TypeError, ValueError, KeyError, AttributeError):  # a value of another time
        return [_cut(value)]


def _facts(changes: Mapping[str, Any], used: set[str]) -> list[tuple[str, str]]:
    return [
        (str(FACTS.get(name, name)), _fact(name, value))
        for name, value in changes.items()
        if name not in used and value not in ("", None, [], {}, False)
    ]


def _fact(name: str, value: Any) -> str:
    if name == "role":
        return str(ROLES.get(value, value)) if isinstance(value, str) else _cut(value)
    if value is True:
        return gettext("yes")
    if isinstance(value, list):
        return _cut(", ".join(map(str, value)))
    if isinstance(value, dict):
        return _cut(", ".join(f"{key} {number}" for key, number in value.items()))
    return _cut(value)


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
