from django.urls import include, path

from tests.hosts.notes import views

urlpatterns = [
    path("", views.home),
    path("basket/", views.basket),
    path("notes/", views.notes),
    path("empty/", views.empty),
    path("whoami/", views.describe),
    path("", include("anonusers.urls")),
]
