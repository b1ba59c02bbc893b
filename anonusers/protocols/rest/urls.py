"""Routes of the native API."""

from django.urls import path, re_path

from anonusers.protocols.rest import views
from anonusers.protocols.rest.reference import ReferenceView, SchemaView

app_name = "rest"

described = [
    path("api/v1/signup/", views.SignupView.as_view(), name="signup"),
    path("api/v1/userinfo/", views.UserInfoView.as_view(), name="userinfo"),
    path("api/v1/refresh/", views.RefreshView.as_view(), name="refresh"),
    path("api/v1/sessions/", views.SessionsView.as_view(), name="sessions"),
    path("api/v1/sessions/<uuid:session_id>/", views.SessionView.as_view(), name="session"),
    path("api/v1/logout/", views.LogoutView.as_view(), name="logout"),
]

urlpatterns = [
    path("api/v1/", ReferenceView.as_view(), name="reference"),
    path("api/v1/schema/", SchemaView.as_view(), name="schema"),
    *described,
    # Anything else below /api/ is answered in JSON, and never redirected to a path with a slash.
    re_path(r"^api/", views.NotFoundView.as_view()),
]
