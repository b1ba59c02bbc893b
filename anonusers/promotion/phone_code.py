"""Send a code by text message, through the sender that ANONUSERS_PHONE_SENDER names."""

import logging
from typing import Protocol

from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from anonusers.conf import conf
from anonusers.errors import CodeNotSent
from anonusers.models import Project

logger = logging.getLogger(__name__)


class PhoneSender(Protocol):
    """What a host writes for its provider."""

    def __call__(self, *, to: str, text: str) -> None:
        """Send `text` to the E.164 number `to`; raise anything when that fails."""


def console_sender(*, to: str, text: str) -> None:
    """Print instead of sending: for development."""
    print(f"To {to}: {text}", flush=True)  # the message is what this sender is for


def send(*, project: Project, to: str, code: str) -> None:
    """Raises: CodeNotSent."""
    text = _("%(code)s is your code for %(project)s") % {"code": code, "project": project.name}
    try:
        sender: PhoneSender = import_string(conf.PHONE_SENDER)
        sender(to=to, text=text)
    except Exception:
        logger.error("a text message of project %s could not be sent", project.slug)
        raise CodeNotSent from None
