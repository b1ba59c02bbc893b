"""The addresses that clients of a project are given."""

from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from anonusers.conf import conf
from anonusers.credentials import origin_of
from anonusers.models import Project


def endpoint_of(project: Project, request: HttpRequest) -> str | None:
    """The origin that an SDK of this project is pointed at; None while no host leads to the project."""
    if conf.ISSUER or Project.objects.at_host(request.get_host()).filter(pk=project.pk).exists():
        return origin_of(request)
    domain = project.domains.exclude(domain="*").order_by("pk").first()
    if domain is None:
        return None
    port = urlsplit(f"//{request.get_host()}").port
    return f"{request.scheme}://{domain.domain}{f':{port}' if port else ''}"


def jwks_url(endpoint: str) -> str:
    return endpoint + reverse("anonusers:authgear:jwks")


def oauth_endpoints(endpoint: str) -> list[tuple[str, str]]:
    """What a client of OAuth and OpenID Connect asks for, by name."""
    names = (
        (_("Discovery"), "discovery"),
        (_("Authorization"), "authorize"),
        (_("Token"), "token"),
        (_("User info"), "userinfo"),
        (_("JWKS"), "jwks"),
        (_("End session"), "end-session"),
    )
    return [(label, endpoint + reverse(f"anonusers:authgear:{name}")) for label, name in names]
