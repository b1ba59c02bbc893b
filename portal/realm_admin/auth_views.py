"""How an operator signs in, refreshes, and is told who they are."""

import hashlib
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from anonusers.credentials import address_of, bearer_token
from anonusers.errors import InvalidToken
from anonusers.models.realm import new_object_id
from portal.attempts import count_failure, refuse_while_locked, spend_attempt
from portal.forms import SignInForm
from portal.models import OperatorKey, OperatorToken
from portal.operator_keys import find_key
from portal.operator_tokens import find_by_refresh_token, mint_access_token, sign_in
from portal.realm_admin.apps import ROLES, groups_of
from portal.realm_admin.views import ApiView, OperatorView
from portal.realm_admin.wire import Refusal, answer, invalid_session, not_found, read_object, text_in

CLOUD, PASSWORD = "mongodb-cloud", "local-userpass"


def operator_id(user: Any) -> str:
    """A user id as the tools expect it, always the same for one operator."""
    return hashlib.sha256(f"operator:{user.pk}".encode()).hexdigest()[:24]


class LoginView(ApiView):
    """With an API key, or with the user name and the password of the portal. Attempts count as they do there."""

    def post(self, request: HttpRequest, provider: str) -> HttpResponse:
        if provider not in (CLOUD, PASSWORD):
            raise not_found("authentication provider", "AuthProviderNotFound")
        spend_attempt(address_of(request))
        sent = read_object(request)
        name = text_in(sent, "username", most=254)
        secret = text_in(sent, "apiKey" if provider == CLOUD else "password")
        counted_as = f"key:{name}" if provider == CLOUD else name
        refuse_while_locked(counted_as)
        key, user = self.by_key(name, secret) if provider == CLOUD else (None, self.by_password(name, secret))
        if user is None:
            count_failure(counted_as)
            raise Refusal(HTTPStatus.UNAUTHORIZED, "InvalidPassword", "invalid username/password")
        with transaction.atomic():
            signed_in = sign_in(user=user, key=key)
        return answer(
            {
                "access_token": signed_in.access_token,
                "refresh_token": signed_in.refresh_token,
                "user_id": operator_id(user),
                "device_id": new_object_id(),
            }
        )

    def by_key(self, name: str, secret: str) -> tuple[OperatorKey | None, Any]:
        key = find_key(name, secret)
        return key, key.user if key else None

    def by_password(self, name: str, secret: str) -> Any:
        form = SignInForm(self.request, {"username": name, "password": secret})
        return form.get_user() if form.is_valid() else None


class ProfileView(OperatorView):
    """Who the operator is, and in which groups there are apps of theirs."""

    def get(self, request: HttpRequest) -> HttpResponse:
        user = self.operator
        groups = groups_of(user)
        provider = CLOUD if self.token.key_id else PASSWORD
        return answer(
            {
                "user_id": operator_id(user),
                "type": "normal",
                "identities": [{"id": operator_id(user), "provider_type": provider}],
                "data": {"name": user.get_username()},
                "roles": [{"role_name": ROLES[role], "group_id": group} for group, role in groups.items()],
            }
        )


class SessionView(ApiView):
    """What a refresh token is good for."""

    def post(self, request: HttpRequest) -> HttpResponse:
        return answer({"access_token": mint_access_token(self.session())}, HTTPStatus.CREATED)

    def delete(self, request: HttpRequest) -> HttpResponse:
        OperatorToken.objects.filter(pk=self.session().pk).delete()
        return answer()

    def session(self) -> OperatorToken:
        bearer = bearer_token(self.request)
        if bearer is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "MissingAuthReq", "must provide a bearer token")
        try:
            return find_by_refresh_token(bearer)
        except InvalidToken:
            raise invalid_session() from None
