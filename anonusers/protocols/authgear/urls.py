"""Routes of the Authgear door. They must lie at the root of an origin: the SDKs drop any prefix."""

from django.urls import path, re_path

from anonusers.protocols.authgear.anonymous import SignupView
from anonusers.protocols.authgear.authorize import AuthorizeView
from anonusers.protocols.authgear.base import ApiNotFoundView, OAuthNotFoundView
from anonusers.protocols.authgear.challenge import ChallengeView
from anonusers.protocols.authgear.codes import AppSessionTokenView, PromotionCodeView
from anonusers.protocols.authgear.discovery import DiscoveryView, JWKSView
from anonusers.protocols.authgear.end_session import EndSessionView
from anonusers.protocols.authgear.token import RevokeView, TokenView
from anonusers.protocols.authgear.userinfo import ResolveView, UserInfoView

app_name = "authgear"

urlpatterns = [
    path(".well-known/openid-configuration", DiscoveryView.as_view(), name="discovery"),
    path(".well-known/oauth-authorization-server", DiscoveryView.as_view(), name="discovery-oauth"),
    path("oauth2/jwks", JWKSView.as_view(), name="jwks"),
    path("oauth2/authorize", AuthorizeView.as_view(), name="authorize"),
    path("oauth2/app_session_token", AppSessionTokenView.as_view(), name="app-session-token"),
    path("oauth2/challenge", ChallengeView.as_view(), name="challenge"),
    path("oauth2/token", TokenView.as_view(), name="token"),
    path("oauth2/userinfo", UserInfoView.as_view(), name="userinfo"),
    path("oauth2/revoke", RevokeView.as_view(), name="revoke"),
    path("oauth2/end_session", EndSessionView.as_view(), name="end-session"),
    path("api/anonymous_user/signup", SignupView.as_view(), name="signup"),
    path("api/anonymous_user/promotion_code", PromotionCodeView.as_view(), name="promotion-code"),
    path("_resolver/resolve", ResolveView.as_view(), name="resolve"),
    path("resolve", ResolveView.as_view()),
    # Whatever else is asked below our paths is answered in the same dialect, not by a page.
    # Without the slash, too: else Django would redirect there, also a POST.
    re_path(r"^api/anonymous_user(/|$)", ApiNotFoundView.as_view()),
    re_path(r"^(oauth2|\.well-known|_resolver)(/|$)", OAuthNotFoundView.as_view()),
]
