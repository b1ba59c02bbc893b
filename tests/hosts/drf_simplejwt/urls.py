from django.urls import include, path

from tests.hosts.drf_simplejwt.views import EmptyView, LogInView, NotesView, RegisterView, WhoAmIView

urlpatterns = [
    path("register/", RegisterView.as_view()),
    path("token/", LogInView.as_view()),
    path("notes/", NotesView.as_view()),
    path("empty/", EmptyView.as_view()),
    path("whoami/", WhoAmIView.as_view()),
    path("", include("tests.hosts.notes.urls")),
]
