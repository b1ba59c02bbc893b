"""How many guests may be made: by one address, application, project, and by a project on this server at all.

The limits of a project take the place of the server's; a blank one leaves them as they are.
"""

from datetime import datetime

from django.utils import timezone

from anonusers.bot_check import bot_check
from anonusers.errors import BotCheckRequired, RateLimited
from anonusers.limits import network_of, spend
from anonusers.models import Application, Project
from anonusers.networks import is_exempt


def spend_signup(
    *, project: Project, application: Application | None, ip: str, solution: str = "", now: datetime | None = None
) -> None:
    """One more guest of `ip`. In the order of how many people a refusal is about, so that whoever is refused has taken
    nothing from those with whom they share what comes after.

    To be called outside of a transaction: what was counted or solved stays so, whatever becomes of the sign-up.
    Raises: BotCheckRequired; RateLimited; Busy when a store or a provider is away and nothing goes without it.
    """
    stop = project.limits_store_down == Project.StoreDown.STOP
    key = str(project.pk)
    if not is_exempt(ip, project.unlimited_networks, now or timezone.now()):
        network = network_of(ip)
        try:
            spend("bot_check_per_ip", key, network, limit=project.bot_check_per_ip, stop=stop)
        except RateLimited as soft:
            if not bot_check().is_solved(solution, project=project, ip=ip):
                raise BotCheckRequired(bot_check().challenge(project), soft.retry_after) from None
        spend("signup_per_ip", key, network, limit=project.signup_per_ip, stop=stop)
    if application is not None:
        application_key = str(application.pk)
        spend("signup_per_application", application_key, limit=project.signup_per_application, stop=stop)
    spend("signup_per_project_day", key, limit=project.signup_per_project_day, stop=stop)
    spend("signup_per_project", key, stop=stop)
