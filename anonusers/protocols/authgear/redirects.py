"""Redirects to clients: 303 (RFC 9700 §4.12), to any scheme, since the URI was compared with the registered ones."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode, urlsplit

from django.http import HttpResponse, HttpResponseRedirect

# Never a place to send somebody to, also where such a URI got into the database past validation.
ACTIVE_SCHEMES = frozenset(("javascript", "data", "vbscript", "file", "blob", "about"))


class AnySchemeRedirect(HttpResponseRedirect):
    """Native applications register schemes of their own."""

    status_code = 303

    def __init__(self, redirect_to: str) -> None:
        scheme = urlsplit(redirect_to).scheme or "https"
        self.allowed_schemes = [] if scheme in ACTIVE_SCHEMES else [scheme]
        super().__init__(redirect_to)


def see_other(uri: str) -> HttpResponse:
    response = AnySchemeRedirect(uri)
    response.headers["Cache-Control"] = "no-store"
    return response


def with_query(uri: str, fields: Mapping[str, str]) -> str:
    """A URI with more in its query. What it has stays as it is, byte for byte: taking URIs of private schemes apart
    and putting them together again changes them. Spaces become %20, which every platform reads back."""
    if not fields:
        return uri
    base, mark, fragment = uri.partition("#")
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return f"{base}{joint}{urlencode(fields, quote_via=quote, safe='')}{mark}{fragment}"
