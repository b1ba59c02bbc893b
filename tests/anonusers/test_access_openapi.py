"""A host's own schema by drf-spectacular describes our authentication classes; nothing is loaded for nothing."""

import subprocess
import sys

import pytest
from django.urls import path
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.validation import validate_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.response import Response

from anonusers.authentication import BearerAuthentication, CookieAuthentication
from anonusers.permissions import IsGuest, IsMember
from tests.test_house import ROOT

WITHOUT_SPECTACULAR = """
import os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "drf_spectacular":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
assert "anonusers.openapi" not in sys.modules
from django.core.management import call_command
call_command("check")
print("works")
"""
PLAIN = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
import django
django.setup()
print(sorted({"drf_spectacular", "anonusers.openapi", "rest_framework.views"} & set(sys.modules)))
"""


class NoteInput(serializers.Serializer):
    text = serializers.CharField()


class OwnBearer(BearerAuthentication):
    pass


class NotesView(GenericAPIView):
    authentication_classes = [OwnBearer, CookieAuthentication]
    permission_classes = [IsGuest | IsMember]
    serializer_class = NoteInput
    schema = AutoSchema()

    def post(self, request):
        """Write a note."""
        return Response({})


@pytest.fixture
def installed(settings):
    """`ready()` is called as at the host's start."""
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "drf_spectacular"]


def schema_of_the_host():
    GENERATOR_STATS.reset()
    return SchemaGenerator(patterns=[path("notes/", NotesView.as_view())]).get_schema(request=None, public=True)


def test_both_ways_to_authenticate_are_described_without_a_warning(installed):
    schema = schema_of_the_host()
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache
    validate_schema(schema)
    assert schema["paths"]["/notes/"]["post"]["security"] == [{"anonusersBearer": []}, {"anonusersCookie": []}]
    schemes = schema["components"]["securitySchemes"]
    assert schemes["anonusersBearer"]["scheme"] == "bearer"
    assert (schemes["anonusersCookie"]["in"], schemes["anonusersCookie"]["name"]) == ("cookie", "anonusers_session")
    assert "`__Host-anonusers_session`" in schemes["anonusersCookie"]["description"]


def test_the_cookie_has_the_name_that_the_project_gives_it(installed, settings):
    settings.ANONUSERS_COOKIE_NAME, settings.ANONUSERS_COOKIE_DOMAIN = "shop_guest", "shop.example"
    cookie = schema_of_the_host()["components"]["securitySchemes"]["anonusersCookie"]
    assert cookie["name"] == "shop_guest"
    assert "__Host-" not in cookie["description"]


@pytest.mark.parametrize(("program", "says"), [(WITHOUT_SPECTACULAR, "works"), (PLAIN, "[]")], ids=["absent", "unused"])
def test_where_spectacular_is_absent_or_not_used_nothing_of_it_is_loaded(program, says):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(says)
