"""Argon2id with the parameters that OWASP recommends: a sixth of the time and memory of Django's default, which a burst
of sign-ups would feel. Needs the extra `anonusers[argon2]`."""

from django.contrib.auth.hashers import Argon2PasswordHasher


class OwaspArgon2PasswordHasher(Argon2PasswordHasher):
    time_cost = 2
    memory_cost = 19_456  # KiB
    parallelism = 1
