"""Log out: ask, then do it."""

from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from anonusers import credentials, device_keys, django_login, sessions
from anonusers.middleware import content_security_policy
from anonusers.models import Project
from anonusers.models.projects import origin_of
from anonusers.pages.settings import way_back
from anonusers.pages.visit import own_path


@login_not_required
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """Ask whether to log out, then do it and go to `next`."""
    onward = _next(request)
    session = credentials.cookie_session(request)
    if session is None:
        return redirect(onward)
    if request.method == "POST":
        sessions.end_session(session)
        django_login.log_out_too(request, session.end_user)
        done = redirect(onward)
        done.status_code = 303  # the browser goes on with GET (RFC 9700 §4.12)
        credentials.clear_session_cookie(request, done)
        return done
    guest = session.end_user.is_guest
    keep_url = reverse("anonusers:pages:promote") if guest and session.project.login_ids else ""
    context = {
        "project_name": session.project.name,
        "is_guest": guest,
        "way_back": way_back(session, device_keys.list_keys(session.end_user)) if guest else "",
        "next": onward,
        "keep_url": keep_url,
        "cancel_url": own_path(request.GET.get("cancel", ""), reverse("anonusers:pages:settings")),
    }
    response = render(request, "anonusers/logout.html", context)
    response.headers["Content-Security-Policy"] = content_security_policy(_form_targets(session.project))
    return response


@login_not_required
@never_cache
@require_safe
def logged_out(request: HttpRequest) -> HttpResponse:
    context = {
        "title": _("You are logged out"),
        "message": _("You can close this page."),
    }
    return render(request, "anonusers/message.html", context)


def _form_targets(project: Project) -> set[str]:
    """Where logging out may lead: the origins of the post-logout URIs, or their private-use schemes."""
    lists = project.applications.values_list("post_logout_redirect_uris", flat=True)
    return {origin_of(uri) or f"{urlsplit(uri).scheme}:" for uris in lists for uri in uris}


def _next(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    return own_path(wanted, reverse("anonusers:pages:logged-out"))
