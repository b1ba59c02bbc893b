"""What host code may import: the names that the reference describes and that a release does not break unsaid."""

NAMES: dict[str, list[str]] = {
    "anonusers.adapters": ["Adapter", "get_adapter"],
    "anonusers.authentication": ["BearerAuthentication", "CookieAuthentication"],
    "anonusers.decorators": ["guest_required_on_write"],
    "anonusers.events": [
        "Event",
        "user_created",
        "user_anonymous_promoted",
        "user_authenticated",
        "user_device_key_added",
        "user_device_key_removed",
        "user_expired",
        "user_deleted",
        "user_signed_out",
    ],
    "anonusers.erasure": ["erase", "Erasure"],
    "anonusers.guests": ["ensure_guest", "attach_guest", "is_bot", "is_prefetch"],
    "anonusers.middleware": ["GuestMiddleware", "PageHeadersMiddleware"],
    "anonusers.mixins": ["GuestRequiredOnWriteMixin"],
    "anonusers.permissions": ["GuestOnWrite"],
    "anonusers.promotion.base": ["Proof"],
    "anonusers.retention": ["statement"],
    "anonusers.tasks": ["clean_up_projects"],
    "anonusers.userinfo": ["UserInfo", "LoginIDInfo", "userinfo", "is_guest"],
}


def names(module: str) -> list[str]:
    return NAMES[module]
