"""Words about people in templates."""

from django import template
from django.apps import apps
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from anonusers.devices import place_of
from anonusers.models import Session
from portal.audit_words import TITLES

register = template.Library()

METHODS = {
    "password": lambda: _("Password"),
    "email_code": lambda: _("Code by e-mail"),
    "phone_code": lambda: _("Code by SMS"),
}


@register.simple_tag
def device(session: Session) -> SafeString:
    """`Firefox on Windows`, as the device says of itself."""
    parts, app = place_of(session.device, session.user_agent)
    words = ", ".join([*parts, app] if app else parts)
    return format_html("<bdi>{}</bdi>", words)


@register.simple_tag
def method(name: str) -> str:
    """How somebody proved who they are."""
    return METHODS[name]() if name in METHODS else name


@register.simple_tag
def event_title(type: str) -> SafeString:
    """What the audit log calls an event."""
    return format_html("<strong>{}</strong>", TITLES[type]) if type in TITLES else format_html("<code>{}</code>", type)


@register.simple_tag
def model_words(label: str, number: int) -> str:
    """`anonusers.Session` → "session" or "sessions"; `shop.Basket.user` → the model's name."""
    app, model = label.split(".")[:2]
    try:
        options = apps.get_model(app, model)._meta
    except LookupError:
        return label
    return str(options.verbose_name if number == 1 else options.verbose_name_plural)
