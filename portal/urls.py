"""Routes of the portal."""

from django.urls import path

from portal.views import anonymous_users, applications, home, retention, session, sign_in

app_name = "portal"

urlpatterns = [
    path("", home.HomeView.as_view(), name="home"),
    path("login/", sign_in.SignInView.as_view(), name="login"),
    path("logout/", sign_in.SignOutView.as_view(), name="logout"),
    path("<slug:project_slug>/", home.ProjectHomeView.as_view(), name="project"),
    path(
        "<slug:project_slug>/anonymous-users/",
        anonymous_users.AnonymousUsersView.as_view(),
        name="anonymous-users",
    ),
    path("<slug:project_slug>/applications/", applications.ApplicationsView.as_view(), name="applications"),
    path(
        "<slug:project_slug>/applications/<int:pk>/",
        applications.ApplicationView.as_view(),
        name="application",
    ),
    path("<slug:project_slug>/retention/", retention.RetentionView.as_view(), name="retention"),
    path("<slug:project_slug>/session/", session.SessionView.as_view(), name="session"),
]
