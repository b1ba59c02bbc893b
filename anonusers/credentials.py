"""What a request presents: its host and origin, the client's address, a bearer token, our session cookie.

Shared by the doors and by what host code imports; below them nobody sees a request.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from anonusers import sessions
from anonusers.conf import conf
from anonusers.dpop import DPoPProof, verify_dpop_proof
from anonusers.errors import DPoPProofRefused, GuestGone, InvalidToken
from anonusers.models import Project, Session

SAME_SITE_STRICT = "same_site_strict"


def origin_of(request: HttpRequest) -> str:
    """Our public origin, without trailing slash: ANONUSERS_ISSUER, else what the (validated) host says."""
    return conf.ISSUER or f"{request.scheme}://{request.get_host()}".lower()


def address_of(request: HttpRequest) -> str:
    """The client's IP address. X-Forwarded-For counts only as far as our own proxies wrote it."""
    if conf.TRUSTED_PROXIES:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if hops:
            return hops[-min(conf.TRUSTED_PROXIES, len(hops))]
    return str(request.META.get("REMOTE_ADDR", ""))


def user_agent_of(request: HttpRequest) -> str:
    return request.headers.get("User-Agent", "")


def bearer_token(request: HttpRequest) -> str | None:
    """The token of `Authorization: Bearer …` (RFC 6750 §2.1), None where there is none or an empty one."""
    return _authorization(request, "bearer")


def _authorization(request: HttpRequest, wanted: str) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == wanted else None


def dpop_proof(request: HttpRequest, *, access_token: str | None = None) -> DPoPProof | DPoPProofRefused | None:
    """The proof that came with the request, verified (RFC 9449 §4.3), or what is to be said of one that is not valid:
    whether that matters is for whoever knows the application. None where there is none."""
    text = request.headers.get("DPoP")
    if text is None:
        return None
    url = f"{origin_of(request)}{request.path}"
    try:
        return verify_dpop_proof(
            text, method=str(request.method), url=url, now=timezone.now(), access_token=access_token
        )
    except DPoPProofRefused as refused:
        return refused


def bearer_session(request: HttpRequest, *, say_gone: bool = False) -> Session | None:
    """The live session of the bearer token, or of one that is bound to a DPoP key (`Authorization: DPoP …`, RFC 9449
    §7.1); None where it is absent or worthless.

    Raises: GuestGone, where the caller wants to `say_gone`: the token is genuine and its user was removed.
    """
    bound_token = _authorization(request, "dpop")
    token = bound_token or bearer_token(request)
    if token is None:
        return None
    try:
        proof = dpop_proof(request, access_token=bound_token) if bound_token else None
        return sessions.find_by_access_token(
            host=request.get_host(), origin=origin_of(request), token=token, proof=proof
        )
    except (InvalidToken, DPoPProofRefused) as error:
        if say_gone and isinstance(error, GuestGone):
            raise
        return None


def cookie_session(request: HttpRequest) -> Session | None:
    """The live session of our cookie, None where the cookie is absent or worthless."""
    value = request.COOKIES.get(cookie_name(request))
    if not value:
        return None
    try:
        return sessions.find_by_cookie(host=request.get_host(), value=value)
    except InvalidToken:
        return None


def cookie_name(request: HttpRequest) -> str:
    """`__Host-` pins the cookie to this host and to TLS (RFC 6265bis §4.1.3.2); without TLS it cannot be used."""
    prefix = "__Host-" if request.is_secure() and conf.COOKIE_DOMAIN is None else ""
    return f"{prefix}{conf.COOKIE_NAME}"


APP_SESSION = "app_session"


def app_session(request: HttpRequest) -> Session | None:
    """The application's live session that vouches for this browser (`open(Page.Settings)`), None without one."""
    value = request.COOKIES.get(APP_SESSION)
    if not value:
        return None
    try:
        return sessions.find_by_app_session(host=request.get_host(), value=value)
    except InvalidToken:
        return None


def set_app_session_cookie(request: HttpRequest, response: HttpResponse, value: str) -> None:
    """Until the browser closes; it is worth nothing once the application's session ends."""
    response.set_cookie(APP_SESSION, value, secure=request.is_secure(), httponly=True, samesite="Lax")


def set_session_cookie(request: HttpRequest, response: HttpResponse, session: Session, value: str) -> None:
    """Hand a cookie session over. `same_site_strict` only tells a same-site navigation from a cross-site one."""
    common: dict[str, Any] = {
        "max_age": session.lifetime if session.project.session_persistent_cookie else None,
        "domain": conf.COOKIE_DOMAIN,
        "secure": request.is_secure(),
        "httponly": True,
    }
    response.set_cookie(cookie_name(request), value, samesite="Lax", **common)
    response.set_cookie(SAME_SITE_STRICT, "true", samesite="Strict", **common)


def clear_session_cookie(request: HttpRequest, response: HttpResponse) -> None:
    for name, samesite in ((cookie_name(request), "Lax"), (SAME_SITE_STRICT, "Strict")):
        response.delete_cookie(name, domain=conf.COOKIE_DOMAIN, samesite=samesite)  # type: ignore[arg-type]
        if request.is_secure():
            # A browser drops a __Host- cookie only when told so with Secure.
            response.cookies[name]["secure"] = True


def is_trusted_origin(request: HttpRequest, project: Project) -> bool:
    """Whether an unsafe request that rides on a cookie comes from our own origin or from one the project lists.

    Browsers say where a request comes from in Sec-Fetch-Site, older ones in Origin; what says neither is no browser,
    and a cross-site form would not carry our SameSite=Lax cookie.
    """
    origin = request.headers.get("Origin")
    if origin is not None and (origin == origin_of(request) or project.allows_origin(origin)):
        return True
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None
