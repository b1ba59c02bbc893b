from django.contrib.auth import views as auth_views
from django.urls import include, path

from tests.hosts.plain.views import register

urlpatterns = [
    path("register/", register),
    path("accounts/login/", auth_views.LoginView.as_view(), name="login"),
    path("accounts/logout/", auth_views.LogoutView.as_view(), name="logout"),
    path("", include("tests.hosts.notes.urls")),
]
