"""Where an invitation to a team leads: set the first password, and come in."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.password_validation import password_validators_help_texts, validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import View

from anonusers.credentials import address_of
from anonusers.errors import RateLimited
from anonusers.limits import network_of, spend
from portal.durations import in_words
from portal.team import find_invited, join


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class JoinView(View):
    """The page of a link; the same words for every link that is not valid, whoever it was for."""

    http_method_names = ["get", "head", "post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            spend("portal_login_per_ip", network_of(address_of(request)))
            response = super().dispatch(request, *args, **kwargs)
        except RateLimited as limit:
            wait = _("Too many attempts. Try again in %(time)s.") % {"time": in_words(limit.retry_after)}
            response = render(request, "portal/join.html", {"wait": wait}, status=HTTPStatus.TOO_MANY_REQUESTS)
            response.headers["Retry-After"] = str(limit.retry_after)
        add_never_cache_headers(response)
        return response

    def get(self, request: HttpRequest, uid: str, token: str) -> HttpResponse:
        user = find_invited(uid, token)
        return self.form(user) if user else self.gone()

    def post(self, request: HttpRequest, uid: str, token: str) -> HttpResponse:
        password = request.POST.get("password", "")
        with transaction.atomic():
            user = find_invited(uid, token, for_update=True)
            if user is None:
                return self.gone()
            if problems := _problems(password, user):
                return self.form(user, problems, HTTPStatus.BAD_REQUEST)
            join(user=user, password=password, proof=request.GET.get("proof", ""))
        login(request, user, settings.AUTHENTICATION_BACKENDS[0])
        said = _("Your password is set. From now on you sign in as %(name)s.") % {"name": user.get_username()}
        messages.success(request, said)
        return redirect("portal:home")

    def form(self, user: Any, problems: list[str] | None = None, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
        rules = [] if problems else [{"text": text} for text in password_validators_help_texts()]
        context = {"user_name": user.get_username(), "problems": problems or [], "rules": rules}
        return render(self.request, "portal/join.html", context, status=status)

    def gone(self) -> HttpResponse:
        return render(self.request, "portal/join.html", {"gone": True}, status=HTTPStatus.NOT_FOUND)


def _problems(password: str, user: Any) -> list[str]:
    if not password:
        return [_("Choose a password.")]
    try:
        validate_password(password, user)
    except ValidationError as error:
        return error.messages
    return []
