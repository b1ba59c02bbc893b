"""What host code may import: the names that the reference describes and that a release does not break unsaid."""

NAMES: dict[str, list[str]] = {
    "anonusers.adapters": ["Adapter", "get_adapter"],
    "anonusers.adoption": ["adopt_user", "adopt_guest", "adopt_users", "Adopted"],
    "anonusers.authentication": ["BearerAuthentication", "CookieAuthentication"],
    "anonusers.backends": ["ModelBackend", "EndUserMixin"],
    "anonusers.bot_check": ["BotCheck", "ProofOfWork", "Turnstile", "HCaptcha"],
    "anonusers.cleanup": ["clean_up", "restore", "Report"],
    "anonusers.context_processors": ["guest"],
    "anonusers.contrib.allauth.adapters": [
        "AccountAdapter",
        "AccountAdapterMixin",
        "SocialAccountAdapter",
        "SocialAccountAdapterMixin",
    ],
    "anonusers.contrib.allauth.backends": ["AuthenticationBackend"],
    "anonusers.contrib.allauth.middleware": ["AllauthGuestMiddleware"],
    "anonusers.decorators": ["guest_required_on_write", "guest_allowed", "guest_required", "member_required"],
    "anonusers.erasure": ["erase", "Erasure"],
    "anonusers.events": [
        "Event",
        "user_created",
        "user_anonymous_promoted",
        "user_authenticated",
        "user_device_key_added",
        "user_device_key_removed",
        "user_login_id_added",
        "user_login_id_verified",
        "user_login_id_removed",
        "user_password_changed",
        "user_expired",
        "user_deleted",
        "user_signed_out",
    ],
    "anonusers.guests": [
        "ensure_guest",
        "aensure_guest",
        "attach_guest",
        "guest_of",
        "is_bot",
        "is_prefetch",
    ],
    "anonusers.middleware": ["GuestMiddleware", "PageHeadersMiddleware"],
    "anonusers.mixins": [
        "GuestRequiredOnWriteMixin",
        "GuestAllowedMixin",
        "GuestRequiredMixin",
        "MemberRequiredMixin",
    ],
    "anonusers.models": ["EndUser", "LoginID", "Session", "Project", "Application", "project_at", "application_at"],
    "anonusers.permissions": ["GuestOnWrite", "IsGuestOrMember", "IsGuestOrMemberOrReadOnly", "IsMember", "IsGuest"],
    "anonusers.promotion.hashers": ["OwaspArgon2PasswordHasher"],
    "anonusers.promotion.phone_code": ["PhoneSender", "console_sender"],
    "anonusers.registration": ["registering_user", "promote_guest", "apromote_guest", "leave_guest", "sign_in"],
    "anonusers.retention": ["statement"],
    "anonusers.tasks": ["clean_up_projects", "clean_up_task"],
    "anonusers.testing": [
        "make_guest",
        "make_member",
        "client_of",
        "bearer_headers",
        "make_project",
        "make_application",
        "project_of",
    ],
    "anonusers.throttling": ["GuestThrottle"],
    "anonusers.userinfo": ["is_guest", "is_member", "sub_of", "userinfo", "UserInfo", "LoginIDInfo"],
}
"""Module → names, in the order in which they are told."""

ELSEWHERE = {"anonusers.guests": {"is_guest", "is_member", "sub_of"}}
"""Names that a module offers besides and that are told where they are made."""

INNER = {
    "anonusers.adoption": {"follow_email"},
    "anonusers.middleware": {"content_security_policy"},
    "anonusers.registration": {"session_of", "stay_signed_in"},
}
"""Names that other rooms of the house use and hosts do not."""

IN_PART = {
    "anonusers.bot_check",
    "anonusers.cleanup",
    "anonusers.events",
    "anonusers.models",
    "anonusers.promotion.phone_code",
    "anonusers.tasks",
}
"""Modules that are for the inside as well: not all that has no underscore is told."""

INWARD = ("anonusers.models.", "anonusers.protocols", "anonusers.pages", "anonusers.conf", "anonusers.contrib.allauth.")
"""Where `__all__` says what other rooms of the house use."""
