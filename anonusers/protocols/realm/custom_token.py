"""`custom-token`: an access token that another door of the same project has handed out logs its person in here.

In MongoDB's words this project is its own JWT provider. There is no other: whatever else is presented is told what it
always was, that there is no such provider.
"""

import uuid

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials, sessions
from anonusers.errors import InvalidToken, ProviderDisabled
from anonusers.protocols.realm import wire
from anonusers.protocols.realm.base import RealmView
from anonusers.statements import new_stated_secret
from anonusers.token_exchange import exchange_session


class CustomTokenLoginView(RealmView):
    def post(self, request: Request, app_id: str) -> HttpResponse:
        application = self.app(app_id)
        body = self.body()
        token, device = body.get("token"), wire.parse_device(body)
        if not isinstance(token, str) or self.http_request.GET.get("link") == "true":
            raise ProviderDisabled
        try:
            session, secret = exchange_session(
                subject=sessions.find_by_access_token(host=self.host, origin=self.origin, token=token),
                application=application,
                full_access=wire.FULL_ACCESS,
                ip=credentials.address_of(self.http_request),
                user_agent=credentials.user_agent_of(self.http_request),
                device=device.known,
                secret=new_stated_secret(uuid.uuid4()),
            )
        except InvalidToken:
            raise ProviderDisabled from None
        return self.logged_in(session, secret, device)
