"""Sign-in and sign-out of operators."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from anonusers.credentials import address_of
from anonusers.errors import RateLimited
from portal.access import is_operator
from portal.attempts import count_failure, refuse_while_locked, spend_attempt
from portal.durations import in_words
from portal.forms import SignInForm


class SignInView(LoginView):
    """The form for operators. Attempts are counted per address, failures per user name."""

    http_method_names = ["get", "head", "post"]
    template_name = "portal/sign_in.html"
    authentication_form = SignInForm
    next_page = "portal:home"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if is_operator(request.user):
            return _uncached(redirect(self.destination()))
        return super().dispatch(request, *args, **kwargs)

    def destination(self) -> str:
        """Where the visitor was going, unless that is this very form."""
        wanted = self.get_success_url()
        return resolve_url("portal:home") if wanted.split("?")[0] == self.request.path else wanted

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name = request.POST.get("username", "")
        try:
            spend_attempt(address_of(request))
            refuse_while_locked(name)
            form = self.get_form()
            if form.is_valid():
                return self.form_valid(form)
            count_failure(name)
        except RateLimited as limit:
            return self.too_many(limit.retry_after)
        return self.form_invalid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=HTTPStatus.BAD_REQUEST)

    def too_many(self, retry_after: int) -> HttpResponse:
        """The form again, with the name but without a check of the password."""
        form = SignInForm(self.request, initial={"username": self.request.POST.get("username", "")[:150]})
        wait = _("Too many attempts. Try again in %(time)s.") % {"time": in_words(retry_after)}
        context = self.get_context_data(form=form, wait=wait)
        response = self.render_to_response(context, status=HTTPStatus.TOO_MANY_REQUESTS)
        response.headers["Retry-After"] = str(retry_after)
        return response


class SignOutView(LogoutView):
    """Ends the operator's session."""

    http_method_names = ["post"]

    def get_success_url(self) -> str:
        messages.success(self.request, _("You are signed out."))
        return reverse("portal:login")


def _uncached(response: HttpResponse) -> HttpResponse:
    add_never_cache_headers(response)
    return response
