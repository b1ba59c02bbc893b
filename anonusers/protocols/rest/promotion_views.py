"""The native API for promotion: keep the account, in one call or by a code. Ends with a new session, the only one."""

from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from anonusers import account, credentials
from anonusers.models import Session
from anonusers.promotion import Promoted, flow
from anonusers.promotion.flow import Pending
from anonusers.protocols.base import answer
from anonusers.protocols.body import read_json, validated
from anonusers.protocols.rest import serializers as shapes
from anonusers.protocols.rest.schema import describe
from anonusers.protocols.rest.views import NativeView, no_content

TAG = "Keep the account"
PENDING = (shapes.PromotionOutput, "A code is on its way. Nothing has changed yet.")
SESSION = ("guest_gone", "not_signed_in", "unknown_project", "untrusted_origin")
BEGIN = (
    *SESSION,
    "busy",
    "code_not_sent",
    "invalid_login_id",
    "login_id_not_allowed",
    "rate_limited",
    "user_is_regular",
    "weak_password",
)
HANDLE = {"handle": "What the promotion was begun with."}


class PromotionView(NativeView):
    def begin(self, body: dict[str, Any], *, by_code: bool, amr: str) -> HttpResponse:
        session = self.demand_session()
        dpop_jkt = "" if by_code else self.dpop_jkt_after(session)  # a code opens no session yet
        outcome = flow.begin_promotion(
            end_user=session.end_user,
            project=session.project,
            application=session.application,
            type=body["login_id"]["type"],
            text=body["login_id"]["value"],
            password=body.get("password"),
            by_code=by_code,
            ip=credentials.address_of(self.http_request),
        )
        return self.answer_to(outcome, session, amr=amr, dpop_jkt=dpop_jkt)

    def dpop_jkt_after(self, session: Session) -> str:
        """What was bound to a key stays bound to it.

        Raises: DPoPProofRefused.
        """
        proven = self.dpop_jkt_for(session.application, session.kind)
        return session.dpop_jkt or proven

    def answer_to(self, outcome: Promoted | Pending, session: Session, *, amr: str, dpop_jkt: str) -> HttpResponse:
        """Where the guest was promoted, its session has ended with all others: here is one of the same kind."""
        if isinstance(outcome, Pending):
            return answer(shapes.render_pending(outcome), status=202)
        response = self.signed_in(
            outcome,
            application=session.application,
            kind=session.kind,
            amr=amr,
            dpop_jkt=dpop_jkt,
            # Who was promoted has not logged in: that is told as a promotion, once.
            announce=outcome.superseded is not None,
        )
        unverified = outcome.end_user.login_ids.select_related("project").filter(type="email", verified_at=None).first()
        if unverified is not None and outcome.superseded is None:
            link = f"{self.origin}{reverse('anonusers:pages:forgot')}"
            account.tell_address_used(login_id=unverified, link=link)
        return response


class PromoteView(PromotionView):
    @describe(
        name="promote",
        tag=TAG,
        request=shapes.PromoteInput,
        answers={
            200: (shapes.SignedInOutput, "A regular user with the same `sub`, and a new session of the same kind."),
            202: PENDING,
        },
        errors=(*BEGIN, "dpop_proof_refused", "login_id_taken"),
    )
    def post(self, request: Request) -> HttpResponse:
        """Keep the account, with a password.

        Makes a regular user of the guest, who keeps their `sub`. Every earlier session and token ends, also the one of
        this request; the answer brings a new one. Where the project wants such a login ID verified, a code is sent and
        nothing changes before it is verified.
        """
        body = validated(shapes.PromoteInput, read_json(self.http_request))
        return self.begin(body, by_code=False, amr="pwd")


class BeginView(PromotionView):
    @describe(
        name="beginPromotion",
        tag=TAG,
        request=shapes.PromotionInput,
        answers={202: PENDING},
        errors=BEGIN,
    )
    def post(self, request: Request) -> HttpResponse:
        """Keep the account, by a code.

        Sends a code of six digits to an e-mail address or a phone number. It is good for ten minutes and five tries.
        The answer is the same whether or not somebody has the address already.
        """
        body = validated(shapes.PromotionInput, read_json(self.http_request))
        return self.begin(body, by_code=True, amr="otp")


class VerifyView(PromotionView):
    @describe(
        name="verifyPromotion",
        tag=TAG,
        request=shapes.CodeInput,
        answers={200: (shapes.SignedInOutput, "A regular user, and a new session of the same kind.")},
        errors=(
            *SESSION,
            "code_expired",
            "code_wrong",
            "dpop_proof_refused",
            "flow_gone",
            "login_id_taken",
            "user_disabled",
            "user_is_regular",
        ),
    )
    def post(self, request: Request) -> HttpResponse:
        """Enter the code.

        The guest becomes a regular user with a verified login ID and the same `sub`. Where the address belongs to an
        account and the project says that people log in then, the answer is about that account, whose owner they have
        proven to be; `superseded_guest` names the guest. Every session of the guest ends; the answer brings a new one.
        """
        body = validated(shapes.CodeInput, read_json(self.http_request))
        session = self.demand_session()
        dpop_jkt = self.dpop_jkt_after(session)
        promoted = flow.finish_promotion(
            handle=body["handle"], host=self.host, code=body["code"], end_user=session.end_user
        )
        return self.answer_to(promoted, session, amr="otp", dpop_jkt=dpop_jkt)


class PendingView(NativeView):
    @describe(
        name="getPromotion",
        tag=TAG,
        answers={200: (shapes.PromotionOutput, "A code was sent and has not been entered.")},
        errors=("flow_gone", "guest_gone", "not_signed_in"),
        parameters=HANDLE,
    )
    def get(self, request: Request, handle: str) -> HttpResponse:
        """See what is pending.

        For 25 minutes from its beginning, to the guest who began it.
        """
        session = self.demand_session()
        pending = flow.pending_promotion(handle=handle, host=self.host, end_user=session.end_user)
        return answer(shapes.render_pending(pending))

    @describe(
        name="cancelPromotion",
        tag=TAG,
        answers={204: (None, "The code is worthless now. The guest is what it was.")},
        errors=(*SESSION, "flow_gone"),
        parameters=HANDLE,
    )
    def delete(self, request: Request, handle: str) -> HttpResponse:
        """Cancel.

        Nothing was claimed: the address stays free.
        """
        session = self.demand_session()
        flow.cancel(handle=handle, host=self.host, end_user=session.end_user)
        return no_content()


class ResendView(NativeView):
    @describe(
        name="resendPromotionCode",
        tag=TAG,
        request=shapes.LogoutInput,
        answers={202: (shapes.PromotionOutput, "A new code is on its way; the one before is worthless.")},
        errors=(*SESSION, "code_not_sent", "flow_gone", "rate_limited"),
        parameters=HANDLE,
    )
    def post(self, request: Request, handle: str) -> HttpResponse:
        """Send another code.

        To the same address, at most once a minute. The body is `{}` or nothing.
        """
        validated(shapes.LogoutInput, read_json(self.http_request, empty_is_object=True))
        session = self.demand_session()
        ip = credentials.address_of(self.http_request)
        flow.resend_code(handle=handle, host=self.host, end_user=session.end_user, ip=ip)
        pending = flow.pending_promotion(handle=handle, host=self.host, end_user=session.end_user)
        return answer(shapes.render_pending(pending), status=202)
