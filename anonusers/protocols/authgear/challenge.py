"""POST /oauth2/challenge: what a device signs next, to prove that it holds its key."""

from django.http import HttpResponse
from rest_framework.request import Request

from anonusers import credentials
from anonusers.device_keys import issue_challenge
from anonusers.limits import network_of, spend
from anonusers.protocols.authgear import wire
from anonusers.protocols.authgear.base import ApiView
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated


class ChallengeView(ApiView):
    def post(self, request: Request) -> HttpResponse:
        body = validated(wire.ChallengeBody, read_json(self.http_request))
        spend("challenges_per_ip", self.project.slug, network_of(credentials.address_of(self.http_request)))
        issued = issue_challenge(self.project, body["purpose"])
        return answer({"result": {"token": issued.secret, "expire_at": wire.rfc3339(issued.expires_at)}})
