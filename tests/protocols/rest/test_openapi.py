"""The OpenAPI document: valid, complete, and true. That every answer is as described, conftest.py holds."""

import re

import pytest
from django.urls import URLPattern
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.settings import spectacular_settings
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from anonusers.protocols.rest import reference, schema, urls
from anonusers.protocols.rest.problems import PROBLEMS
from anonusers.protocols.rest.schema import document
from tests.conftest import ORIGIN
from tests.protocols.rest.conftest import is_problem

URL = "/api/v1/schema/"


@pytest.fixture(scope="module")
def described():
    return document()


def operations(described):
    return {
        (method, path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def references(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


@pytest.mark.spec("OpenAPI", "3.1")
def test_the_document_is_valid_openapi_3_1(described):
    assert described["openapi"] == "3.1.0"
    validate_schema(described)


def test_making_it_gives_no_warning():
    GENERATOR_STATS.reset()
    document()
    assert not GENERATOR_STATS._warn_cache
    assert not GENERATOR_STATS._error_cache


def test_every_route_is_described_and_nothing_else(described):
    routes = {
        "/" + re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
        for pattern in urls.described
        if isinstance(pattern, URLPattern)
    }
    assert set(described["paths"]) == routes
    assert set(operations(described)) == {
        ("post", "/api/v1/signup/"),
        ("get", "/api/v1/userinfo/"),
        ("post", "/api/v1/refresh/"),
        ("get", "/api/v1/sessions/"),
        ("delete", "/api/v1/sessions/{session_id}/"),
        ("post", "/api/v1/logout/"),
        ("post", "/api/v1/promote/"),
        ("post", "/api/v1/promotion/"),
        ("post", "/api/v1/promotion/verify/"),
        ("get", "/api/v1/promotion/{handle}/"),
        ("delete", "/api/v1/promotion/{handle}/"),
        ("post", "/api/v1/promotion/{handle}/resend/"),
        ("post", "/api/v1/login/"),
        ("post", "/api/v1/login/code/"),
        ("post", "/api/v1/login/code/verify/"),
        ("post", "/api/v1/challenge/"),
        ("post", "/api/v1/login/key/"),
        ("get", "/api/v1/keys/"),
        ("post", "/api/v1/keys/"),
        ("delete", "/api/v1/keys/{kid}/"),
        ("post", "/api/v1/recovery-code/"),
        ("post", "/api/v1/recover/"),
    }


def test_every_reference_resolves_and_every_shape_is_used(described):
    found = set(references(described))
    shapes = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert found == shapes
    for shape in described["components"]["schemas"].values():
        Draft202012Validator.check_schema(shape)


def test_every_operation_has_a_name_a_summary_and_a_description(described):
    found = operations(described).values()
    assert len({operation["operationId"] for operation in found}) == len(found)
    for operation in found:
        assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"])
        assert operation["summary"]
        assert not operation["summary"].endswith(".")
        assert operation["description"].endswith(".")
        assert all(parameter["description"] for parameter in operation.get("parameters", []))
        assert all(response["description"] for response in operation["responses"].values())


def test_every_field_that_is_sent_is_described(described):
    inputs = {name: shape for name, shape in described["components"]["schemas"].items() if name.endswith("Input")}
    assert len(inputs) == 14
    for name, shape in inputs.items():
        assert shape["additionalProperties"] is False
        assert "description" not in shape, "not the docstring of a base class"
        nested = [{"$ref": f"#/components/schemas/{other}"} for other in ("LoginIDInput", "DeviceInput")]
        fields = shape.get("properties", {}).values()
        assert all(field.get("description") or field in nested for field in fields), name


def test_successes_and_requests_have_their_shapes(described):
    """drf-spectacular leaves them out where a view has no parsers and renderers of DRF's."""
    for (method, path), operation in operations(described).items():
        for status, response in operation["responses"].items():
            kind = "application/problem+json" if int(status) >= 400 else "application/json"
            assert list(response.get("content", {})) == ([] if status == "204" else [kind]), (method, path, status)
    signup = described["paths"]["/api/v1/signup/"]["post"]
    assert signup["requestBody"]["required"] is True
    assert list(signup["requestBody"]["content"]) == ["application/json"]


def test_codes_and_statuses_of_problems_agree(described):
    for operation in operations(described).values():
        codes = operation["x-problems"]
        assert set(codes) <= set(PROBLEMS)
        wanted = {str(PROBLEMS[code][0]) for code in codes}
        assert {status for status in operation["responses"] if int(status) >= 400} == wanted
        for code in codes:
            assert f"`{code}`" in operation["responses"][str(PROBLEMS[code][0])]["description"]


def test_what_tells_to_wait_has_retry_after(described):
    for operation in operations(described).values():
        waiting = {status for status, response in operation["responses"].items() if "headers" in response}
        solvable = {"403"} if "bot_check_required" in operation["x-problems"] else set()
        assert waiting == ({"429", "503"} & set(operation["responses"])) | solvable


def test_operations_stand_together_by_what_they_are_for(described):
    tags = [operation["tags"] for operation in operations(described).values()]
    assert tags == [["Guests"]] * 6 + [["Keep the account"]] * 6 + [["Log in"]] * 3 + [["Device keys"]] * 7


def test_who_needs_a_session_is_told_how(described):
    free = {operation["operationId"] for operation in operations(described).values() if operation["security"] == [{}]}
    assert free == {
        "signUp",
        "refresh",
        "logIn",
        "beginCodeLogin",
        "finishCodeLogin",
        "getChallenge",
        "logInWithKey",
        "recover",
    }
    assert set(described["components"]["securitySchemes"]) == {"bearer", "cookie"}
    for operation in operations(described).values():
        assert operation["security"] in ([{}], [{"bearer": []}, {"cookie": []}])


def test_who_may_send_a_dpop_proof_is_told(described):
    told = {
        operation["operationId"]
        for operation in operations(described).values()
        if "DPoP" in [parameter["name"] for parameter in operation.get("parameters", ())]
    }
    opens_sessions = {"signUp", "promote", "verifyPromotion", "logIn", "finishCodeLogin", "logInWithKey", "recover"}
    assert told == opens_sessions | {"refresh"}


def test_it_does_not_depend_on_what_the_host_sets_for_its_own_schema(described, monkeypatch):
    for name, value in {
        "OAS_VERSION": "3.0.3",
        "SCHEMA_PATH_PREFIX": "",
        "SCHEMA_PATH_PREFIX_TRIM": True,
        "ENUM_GENERATE_CHOICE_DESCRIPTION": True,
        "SORT_OPERATIONS": True,
    }.items():
        monkeypatch.setattr(spectacular_settings, name, value)
    assert document() == described
    assert spectacular_settings.OAS_VERSION == "3.0.3", "and it leaves them as they were"


def test_anybody_may_read_it_without_the_database(api, described):
    response = api.call("GET", URL, headers={"Origin": "https://evil.example"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["Cache-Control"] == "public, max-age=900"
    assert response.json() == described | {"servers": [{"url": ORIGIN}]}


def test_without_drf_spectacular_the_api_works_and_says_what_to_install(api, application, monkeypatch):
    reference.cached_document.cache_clear()
    monkeypatch.setattr(schema, "INSTALLED", False)
    monkeypatch.setattr("tests.protocols.rest.conftest.check_described", lambda *args: None)
    try:
        response = api.call("GET", URL)
        assert is_problem(response, 404, "endpoint_not_found", detail='Install "anonusers[openapi]" to get the schema.')
        page = api.call("GET", "/api/v1/")
        assert page.status_code == 200
        assert "anonusers[openapi]" in page.content.decode()
        assert api.sign_up().status_code == 201
    finally:
        reference.cached_document.cache_clear()
