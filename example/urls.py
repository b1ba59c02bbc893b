"""The guestbook's routes."""

from django.urls import path

from example import views

app_name = "example"

urlpatterns = [
    path("", views.guestbook, name="guestbook"),
    path("comments/", views.CommentsView.as_view(), name="comments"),
    path("comments/<int:pk>/", views.CommentView.as_view(), name="comment"),
]
