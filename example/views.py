"""The guestbook: a page that anybody may read, and a small JSON API in which guests are users like any other.

This is what a host project writes: plain Django and Django REST Framework. All that it takes from `anonusers` are
two authentication classes and a permission; `request.user` is the host's own user row.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.permissions import IsGuestOrMemberOrReadOnly
from example.models import TEXT_MAX, Comment

BODY_MAX = 16_384  # a comment whose every character is written as two \uXXXX escapes takes 6 KB


@require_safe
def guestbook(request: HttpRequest) -> HttpResponse:
    """The page. It is the same for everybody, makes nobody a user and sets no cookie; the script does the rest."""
    return render(request, "example/guestbook.html", {"comments": Comment.objects.newest(), "text_max": TEXT_MAX})


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is too large."
    default_code = "too_large"


class SmallJSONParser(JSONParser):
    """JSON of a bounded size, so that nobody makes the server read or nest without end."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        body = stream.read(BODY_MAX + 1)
        if len(body) > BODY_MAX:
            raise BodyTooLarge
        try:
            return super().parse(BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise ParseError("The JSON is nested too deeply.") from error


class TextField(serializers.CharField):
    """A string, and nothing that merely can be written as one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class CommentInput(serializers.Serializer[Comment]):
    text = TextField(max_length=TEXT_MAX)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            raise serializers.ValidationError({str(key): ["This key is not known."] for key in unknown})
        return super().to_internal_value(data)


class CommentOutput(serializers.Serializer[Any]):
    """A comment as `viewer` sees it. Of the author it tells four digits, never the `sub`."""

    id = serializers.IntegerField()
    author = serializers.CharField(source="author_name")
    tint = serializers.IntegerField()
    text = serializers.CharField()
    created_at = serializers.DateTimeField()
    mine = serializers.SerializerMethodField()

    def get_mine(self, comment: Comment) -> bool:
        return bool(comment.author_id == self.context["viewer"].pk)


class GuestbookView(APIView):
    """Reading is for everybody; writing is for users, who may have been guests since a second ago."""

    authentication_classes = [BearerAuthentication, CookieAuthentication]
    permission_classes = [IsGuestOrMemberOrReadOnly]
    parser_classes = [SmallJSONParser]
    renderer_classes = [JSONRenderer]

    def handle_exception(self, exc: Exception) -> Response:
        # Django's own limit answers with a page.
        return super().handle_exception(BodyTooLarge() if isinstance(exc, RequestDataTooBig) else exc)


class CommentsView(GuestbookView):
    def get(self, request: Request) -> Response:
        output = CommentOutput(Comment.objects.newest(), many=True, context={"viewer": request.user})
        return Response({"signed_in": request.user.is_authenticated, "comments": output.data})

    def post(self, request: Request) -> Response:
        given = CommentInput(data=request.data)
        given.is_valid(raise_exception=True)
        author: Any = request.user  # the permission has seen to it that somebody is there
        comment = Comment.objects.create(author=author, text=given.validated_data["text"])
        output = CommentOutput(comment, context={"viewer": author})
        return Response(output.data, status=status.HTTP_201_CREATED)


class CommentView(GuestbookView):
    def delete(self, request: Request, pk: int) -> Response:
        # Somebody else's comment answers like one that never was.
        if not Comment.objects.filter(pk=pk, author=request.user.pk).delete()[0]:
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)
