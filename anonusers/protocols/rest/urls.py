"""Routes of the native API."""

from django.urls import path, re_path

from anonusers.protocols.rest import login_views, promotion_views, views
from anonusers.protocols.rest.reference import ReferenceView, SchemaView

app_name = "rest"

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
]

urlpatterns = [
    path("api/v1/", ReferenceView.as_view(), name="reference"),
    path("api/v1/schema/", SchemaView.as_view(), name="schema"),
    *described,
    # Anything else below /api/ is answered in JSON, and never redirected to a path with a slash.
    re_path(r"^api/", views.NotFoundView.as_view()),
]
