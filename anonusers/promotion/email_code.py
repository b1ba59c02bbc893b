"""Send a code by mail, through Django's mail backend."""

import logging
from smtplib import SMTPException

from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from anonusers.errors import CodeNotSent
from anonusers.models import Project

logger = logging.getLogger(__name__)


def send(*, project: Project, to: str, code: str) -> None:
    """Raises: CodeNotSent."""
    subject = _("%(code)s is your code for %(project)s") % {"code": code, "project": project.name}
    deliver(project, to, subject, "anonusers/mail/code.txt", {"code": code})


def deliver(project: Project, to: str, subject: str, template: str, context: dict[str, object]) -> None:
    """One plain mail to one stored address; never to what somebody has just typed elsewhere.

    Raises: CodeNotSent when the mail provider refuses or is away.
    """
    text = render_to_string(template, {"project": project, **context})
    try:
        send_mail(" ".join(subject.split()), text, None, [to])
    except (SMTPException, OSError):
        # No traceback: it would quote the address.
        logger.error("a mail of project %s could not be sent", project.slug)
        raise CodeNotSent from None
