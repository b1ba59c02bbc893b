"""GET|POST /oauth2/authorize (RFC 6749 §3.1, OpenID Connect Core §3.1.2).

Before the redirect URI is known to be the client's, an error is a page of ours; after that it goes to the client.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.request import Request

from anonusers import browser, credentials, device_keys, onetime, sessions, tokens
from anonusers.codegrant import issue_code
from anonusers.errors import AnonUsersError, InvalidToken, KeyProofRefused, UnknownApplication, UnknownProject
from anonusers.keys import key_ring
from anonusers.models import Application, EndUser, OneTimeToken, Session
from anonusers.protocols.authgear.authorization import Authorization, Hint, Refused, check, is_own_uri, read_hint
from anonusers.protocols.authgear.base import OAuthView
from anonusers.protocols.authgear.redirects import see_other, with_query
from anonusers.protocols.body import read_form
from anonusers.protocols.errors import BadRequest, BodyTooLarge, ContentTypeRefused, ServiceUnavailable, Unexpected

Purpose = OneTimeToken.Purpose
FLOW = "x_flow"
"""The parameter with which a page of ours comes back here; clients do not send it."""
REQUEST_MAX = 3500
"""Characters of what has to come back here by GET: servers cut request lines, gunicorn at 4094."""


class NotTrusted(Exception):
    """Told to the person on a page of ours: the client, or its redirect URI, is not known."""


class CannotGoOn(Exception):
    """Told to the person, with a way back to the application: this link is used up or expired."""


class AuthorizeView(OAuthView):
    # No HEAD: what is answered here may be a code, or cost a one-time token.
    http_method_names: ClassVar[list[str]] = ["get", "post", "options"]  # type: ignore[misc]

    def get(self, request: Request) -> HttpResponse:
        lists = dict(self.http_request.GET.lists())
        if any("\0" in text for name, values in lists.items() for text in (name, *values)):
            raise BadRequest
        return self.authorize(lists)

    def post(self, request: Request) -> HttpResponse:
        fields = read_form(self.http_request)
        again = f"{self.http_request.path}?{urlencode(fields)}"
        if self.is_cross_site() and len(again) <= REQUEST_MAX:
            # SameSite=Lax cookies come with a navigation by GET only, and without them we would begin a new Django
            # session in place of the one that the browser has, basket and all.
            return see_other(again)
        return self.authorize({name: [value] for name, value in fields.items()})

    def is_cross_site(self) -> bool:
        site = self.http_request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site == "cross-site"
        return self.http_request.headers.get("Origin", self.origin) != self.origin

    def authorize(self, lists: dict[str, list[str]]) -> HttpResponse:
        repeated = {name for name, values in lists.items() if len(values) > 1}
        # Of a repeated parameter none is taken; one without a value counts as omitted (RFC 6749 §3.1).
        self.parameters = {name: values[0] for name, values in lists.items() if values[0] and name not in repeated}
        with browser.speaking(browser.language_of(self.parameters.get("ui_locales", ""))):
            return self.answer_or_say_why_not(repeated)

    def answer_or_say_why_not(self, repeated: set[str]) -> HttpResponse:
        try:
            application = self.client()
            redirect_uri = self.redirect_uri(application, is_left_out="redirect_uri" not in repeated)
        except NotTrusted as error:
            return self.page(400, _("This link cannot be used"), str(error))
        try:
            if repeated:
                raise Refused("invalid_request", "a parameter is repeated")
            return self.answer(check(application, redirect_uri, self.parameters))
        except Refused as error:
            return see_other(self.way_back(redirect_uri, error))
        except CannotGoOn as error:
            way_back = self.way_back(redirect_uri, Refused("invalid_request", "this request is not valid any more"))
            return self.page(400, _("This page is no longer valid"), str(error), way_back)

    # --- who asks ----------------------------------------------------------------------

    def client(self) -> Application:
        try:
            application = self.application(self.parameters.get("client_id", ""))
        except UnknownApplication:
            raise NotTrusted(_("The application that sent you here is not known. Nothing was changed.")) from None
        if application.type == Application.Type.M2M:
            raise NotTrusted(_("The application that sent you here cannot sign people in."))
        return application

    def redirect_uri(self, application: Application, *, is_left_out: bool) -> str:
        uri = self.parameters.get("redirect_uri", "")
        if not uri and is_left_out and len(application.redirect_uris) == 1:
            uri = str(application.redirect_uris[0])
        if is_own_uri(application, uri) or self.is_settings_page(uri):
            return uri
        raise NotTrusted(_("The application that sent you here asked to send you to an address that is not its own."))

    def is_settings_page(self, uri: str) -> bool:
        """What `open(Page.Settings)` sends; nowhere else of ours may codes or users be sent to."""
        if uri.partition("?")[0] != f"{self.origin}/settings" or "#" in uri or self.parameters.get("prompt") != "none":
            return False
        try:
            return self.hint().type == "app_session_token"
        except Refused:
            return False

    # --- what was asked for ------------------------------------------------------------

    def answer(self, wanted: Authorization) -> HttpResponse:
        if FLOW in self.parameters:
            return self.after_the_page(wanted)
        hint = self.hint()
        if hint.type == "app_session_token":
            return self.open_app_session(wanted, hint.values["app_session_token"])
        if hint.type == "anonymous":
            return self.promote(wanted, hint)
        return self.sign_in(wanted, hint)

    def hint(self) -> Hint:
        return read_hint(self.parameters.get("login_hint", ""))

    def after_the_page(self, wanted: Authorization) -> HttpResponse:
        """The person was on a page of ours. What they proved there is good for the very request that led there, in
        this browser, once."""
        flow = browser.find(self.http_request, self.parameters[FLOW], wanted.application.project)
        if flow is None or flow.application != wanted.application.pk or flow.next != self.next(flow.id):
            raise CannotGoOn(_("You were here before, or it took too long. Go back to the application and try again."))
        browser.end(self.http_request, flow)
        if flow.sub is None:
            # They could not do there what they came for, or came by hand.
            return self.go_to("login", wanted, must_be=flow.must_be, login_hint=flow.login_hint)
        if flow.must_be not in (None, flow.sub):
            raise Refused("login_required", "somebody else has signed in")
        authenticated_at = datetime.fromtimestamp(flow.authenticated_at, UTC)
        return self.grant(wanted, flow.sub, authenticated_at, flow.amr, after_promotion=flow.sub == flow.guest)

    def promote(self, wanted: Authorization, hint: Hint) -> HttpResponse:
        """Check now whose guest it is, and bind that to this browser. The code, or the challenge that was signed, is
        spent when the guest is promoted, so slow people do not fail."""
        if "none" in wanted.prompt:
            raise Refused("login_required", "authentication required")
        if "promotion_code" in hint.values:
            guest = self.guest_of_code(wanted, hint.values["promotion_code"])
        else:
            guest = self.guest_of_key(wanted, hint.values["jwt"])
        if guest is None or not guest.is_guest or not _is_enabled(guest):
            raise CannotGoOn(_("This account cannot be kept this way: it is not a guest account any more."))
        # A browser that is signed in as somebody else decides on the page; it is told whose guest this is.
        return self.go_to("promote", wanted, guest=str(guest.pk))

    def guest_of_code(self, wanted: Authorization, code: str) -> EndUser | None:
        try:
            token = onetime.look(Purpose.PROMOTION_CODE, code, host=self.host)
        except InvalidToken:
            raise CannotGoOn(
                _(
                    "The link to keep your account has expired or was used before. Your account is unchanged: go back "
                    "and try again."
                )
            ) from None
        if token.application_id not in (None, wanted.application.pk):
            raise CannotGoOn(_("This link was made for another application. Your account is unchanged."))
        return token.end_user

    def guest_of_key(self, wanted: Authorization, jwt: str) -> EndUser | None:
        try:
            proof = device_keys.prove(
                project=wanted.application.project,
                signed_request=jwt,
                expected_action="promote",
                expected_origin=self.origin,
            )
            if proof.row is None:
                raise KeyProofRefused  # it would be somebody who never was here
            if proof.guest is not None and proof.guest.is_guest and _is_enabled(proof.guest):
                proof.bind_challenge()
        except KeyProofRefused:
            raise CannotGoOn(
                _("This link to keep your account is not valid. Your account is unchanged: go back and try again.")
            ) from None
        return proof.guest

    def sign_in(self, wanted: Authorization, hint: Hint) -> HttpResponse:
        session = credentials.cookie_session(self.http_request)
        must_be = self.must_be(wanted)
        if session is not None and _is_enough(session, wanted) and must_be in (None, str(session.end_user_id)):
            return self.grant(wanted, str(session.end_user_id), session.auth_time, session.amr)
        if "none" in wanted.prompt:
            raise Refused("login_required", "authentication required")
        if must_be and EndUser.objects.filter(pk=must_be, anonymous_identity__isnull=False).exists():
            raise Refused("login_required", "an anonymous user cannot authenticate again")
        return self.go_to("login", wanted, must_be=must_be, login_hint=hint.login_id)

    def must_be(self, wanted: Authorization) -> str | None:
        """Who an `id_token_hint` says it must be. Expired hints are fine, forged ones are not."""
        text = self.parameters.get("id_token_hint")
        if text is None:
            return None
        try:
            claims = tokens.read_id_token_hint(key_ring(wanted.application.project), text, origin=self.origin)
        except InvalidToken:
            raise Refused("invalid_request", "invalid id_token_hint") from None
        return str(claims["sub"])

    def go_to(self, page: str, wanted: Authorization, **known: Any) -> HttpResponse:
        """Hand over to a page of ours, which knows only where to come back to. The hint leaves the URL here: it must
        not travel on in Referer headers and histories."""
        flow = browser.Flow(
            project=wanted.application.project_id,
            next="",
            application=wanted.application.pk,
            opens_cookie=wanted.single_sign_on,
            language=browser.language_of(self.parameters.get("ui_locales", "")),
            **known,
        )
        flow.next = self.next(flow.id)
        if len(flow.next) > REQUEST_MAX:
            raise Refused("invalid_request", "the request is too long")
        browser.begin(self.http_request, flow)
        return see_other(f"{reverse(f'anonusers:pages:{page}')}?{urlencode({'flow': flow.id})}")

    def next(self, flow_id: str) -> str:
        """This request, as it comes back from a page."""
        left = ("login_hint", "id_token_hint", FLOW)
        kept = {name: value for name, value in self.parameters.items() if name not in left}
        return f"{self.http_request.path}?{urlencode(kept | {FLOW: flow_id})}"

    def grant(
        self,
        wanted: Authorization,
        sub: str,
        authenticated_at: datetime,
        amr: str,
        *,
        after_promotion: bool = False,
    ) -> HttpResponse:
        application = wanted.application
        end_user = EndUser.objects.select_related("user").filter(pk=sub, project=application.project_id).first()
        if end_user is None or not _is_enabled(end_user):
            raise Refused("access_denied", "the user is disabled or deleted")
        fields: dict[str, str] = {}
        if wanted.response_type == "code":
            issued = issue_code(
                end_user=end_user,
                application=application,
                redirect_uri=self.parameters.get("redirect_uri"),
                code_challenge=self.parameters["code_challenge"],
                scope=wanted.scope,
                nonce=self.parameters.get("nonce"),
                dpop_jkt=self.parameters.get("dpop_jkt", ""),
                authenticated_at=authenticated_at,
                amr=amr,
                after_promotion=after_promotion,
            )
            fields["code"] = issued.secret
        return see_other(self.to_client(wanted.redirect_uri, fields))

    def open_app_session(self, wanted: Authorization, token: str) -> HttpResponse:
        """`open(Page.Settings)`: the application's session vouches for this browser, for as long as it lives."""
        try:
            row = onetime.consume(Purpose.APP_SESSION_TOKEN, token, host=self.host)
        except InvalidToken:
            raise Refused("invalid_request", "invalid app session token") from None
        session = Session.objects.in_full().filter(pk=row.payload["session_id"]).first()
        is_own = row.application_id == wanted.application.pk
        if not is_own or session is None or not session.is_live(timezone.now()):
            raise Refused("invalid_request", "invalid app session token")
        response = see_other(wanted.redirect_uri)
        credentials.set_app_session_cookie(self.http_request, response, sessions.vouch(session))
        return response

    # --- ways out ----------------------------------------------------------------------

    def to_client(self, uri: str, fields: dict[str, str]) -> str:
        """The client's URI, with `state` as it was and `iss` (RFC 9207)."""
        state = {name: self.parameters[name] for name in ("state",) if name in self.parameters}
        return with_query(uri, {**fields, **state, "iss": self.origin})

    def way_back(self, uri: str, error: Refused) -> str:
        return self.to_client(uri, {"error": error.error, "error_description": error.description})

    def page(self, status: int, title: str, message: str, way_back: str = "") -> HttpResponse:
        context = {
            "title": title,
            "message": message,
            "action_url": way_back,
            "action_label": _("Go back to the application") if way_back else "",
        }
        return render(self.http_request, "anonusers/message.html", context, status=status)

    def render_error(self, error: AnonUsersError) -> HttpResponse:
        """People look at this endpoint, not programs."""
        match error:
            case BadRequest() | UnknownProject() | ContentTypeRefused() | BodyTooLarge():
                status, title = 413 if isinstance(error, BodyTooLarge) else 400, _("This link cannot be used")
                return self.page(status, title, _("Something in it is not valid. Nothing was changed."))
            case ServiceUnavailable():
                message = _("The service is busy. Nothing was lost: try again in a moment.")
                return self.page(503, _("One moment"), message)
            case Unexpected():
                message = _("The error is on our side. Nothing was lost: try again.")
                return self.page(500, _("Something went wrong"), message)
        return super().render_error(error)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        # No CORS headers: scripts must not read what passes here (RFC 9700 §2.6).
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        if response.status_code < 500:
            response._has_been_logged = True
        return response


def _is_enough(session: Session, wanted: Authorization) -> bool:
    """Whether the browser's session is answer enough, without a page."""
    if "none" in wanted.prompt:
        return True
    if not wanted.single_sign_on or wanted.prompt & {"login", "select_account"}:
        return False
    if session.end_user.is_guest:
        return False  # who wants to log in has an account, and it is not this one
    age = (timezone.now() - session.auth_time).total_seconds()
    return wanted.max_age is None or age <= wanted.max_age


def _is_enabled(end_user: EndUser) -> bool:
    return end_user.disabled_at is None and getattr(end_user.user, "is_active", True)
