"""An API whose members hold tokens of the host's, and whose guests hold ours."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import validate_password
from rest_framework import serializers, status
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import UniqueValidator
from rest_framework.views import APIView
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.views import TokenObtainPairView

from anonusers.errors import LoginIDTaken
from anonusers.registration import leave_guest, promote_guest, registering_user
from tests.hosts.notes import views
from tests.hosts.notes.models import Note

User = get_user_model()


class RegisterSerializer(serializers.ModelSerializer[Any]):
    password = serializers.CharField(write_only=True, validators=[validate_password])
    email = serializers.EmailField(validators=[UniqueValidator(User._default_manager.all(), lookup="iexact")])

    class Meta:
        model = User
        fields = ("username", "email", "password")

    def create(self, validated_data: dict[str, Any]) -> Any:
        return self.update(User(), validated_data)

    def update(self, instance: Any, validated_data: dict[str, Any]) -> Any:
        instance.username, instance.email = validated_data["username"], validated_data["email"]
        instance.set_password(validated_data["password"])
        instance.save()
        return instance


class RegisterView(APIView):
    permission_classes = [AllowAny]

    def post(self, request: Request) -> Response:
        serializer = RegisterSerializer(registering_user(request), data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            user = promote_guest(request, serializer.save)
        except LoginIDTaken as error:
            return Response({"email": [error.message]}, status=status.HTTP_409_CONFLICT)
        refresh: Any = RefreshToken.for_user(user)
        return Response({"access": str(refresh.access_token), "refresh": str(refresh)}, status=status.HTTP_201_CREATED)


class LogInSerializer(TokenObtainPairSerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        tokens: dict[str, str] = super().validate(attrs)
        leave_guest(self.context["request"], self.user)
        return tokens


class LogInView(TokenObtainPairView):
    serializer_class = LogInSerializer


class NotesView(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request: Request) -> Response:
        user: Any = request.user
        Note.objects.create(author=user, text=request.data["text"])
        return Response({})


class EmptyView(APIView):
    permission_classes = [IsAuthenticated]

    def post(self, request: Request) -> Response:
        return Response({})


class WhoAmIView(APIView):
    permission_classes = [AllowAny]

    def get(self, request: Request) -> Any:
        request._request.user = request.user
        return views.describe(request._request)
