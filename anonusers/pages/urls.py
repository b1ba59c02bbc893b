"""Routes of the hosted pages."""

from django.urls import path

from anonusers.pages import views

app_name = "pages"

urlpatterns = [
    path("logout", views.logout, name="logout"),
    path("logged-out", views.logged_out, name="logged-out"),
]
