"""Routes of the native API."""

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from anonusers.keypairs import KEY_ID
from anonusers.protocols.rest import key_views, login_views, promotion_views, views
from anonusers.protocols.rest.reference import ReferenceView, SchemaView

app_name = "rest"


class KeyIDConverter(StringConverter):
    regex = KEY_ID.pattern.replace(r"\w", "0-9A-Za-z_")  # Django's paths are not only ASCII


register_converter(KeyIDConverter, "anonusers_key_id")

described = [
    path("api/v1/signup/", views.SignupView.as_view(), name="signup"),
    path("api/v1/userinfo/", views.UserInfoView.as_view(), name="userinfo"),
    path("api/v1/refresh/", views.RefreshView.as_view(), name="refresh"),
    path("api/v1/sessions/", views.SessionsView.as_view(), name="sessions"),
    path("api/v1/sessions/<uuid:session_id>/", views.SessionView.as_view(), name="session"),
    path("api/v1/logout/", views.LogoutView.as_view(), name="logout"),
    path("api/v1/promote/", promotion_views.PromoteView.as_view(), name="promote"),
    path("api/v1/promotion/", promotion_views.BeginView.as_view(), name="promotion"),
    path("api/v1/promotion/verify/", promotion_views.VerifyView.as_view(), name="promotion-verify"),
    path("api/v1/promotion/<str:handle>/", promotion_views.PendingView.as_view(), name="promotion-pending"),
    path("api/v1/promotion/<str:handle>/resend/", promotion_views.ResendView.as_view(), name="promotion-resend"),
    path("api/v1/login/", login_views.LoginView.as_view(), name="login"),
    path("api/v1/login/code/", login_views.LoginCodeView.as_view(), name="login-code"),
    path("api/v1/login/code/verify/", login_views.LoginCodeVerifyView.as_view(), name="login-code-verify"),
    path("api/v1/challenge/", key_views.ChallengeView.as_view(), name="challenge"),
    path("api/v1/login/key/", key_views.KeyLoginView.as_view(), name="login-key"),
    path("api/v1/keys/", key_views.KeysView.as_view(), name="keys"),
    path("api/v1/keys/<anonusers_key_id:kid>/", key_views.KeyView.as_view(), name="key"),
    path("api/v1/recovery-code/", key_views.RecoveryCodeView.as_view(), name="recovery-code"),
    path("api/v1/recover/", key_views.RecoverView.as_view(), name="recover"),
]

urlpatterns = [
    path("api/v1/", ReferenceView.as_view(), name="reference"),
    path("api/v1/schema/", SchemaView.as_view(), name="schema"),
    *described,
    # Anything else below /api/ is answered in JSON, and never redirected to a path with a slash.
    re_path(r"^api/", views.NotFoundView.as_view()),
]
