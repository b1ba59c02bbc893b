"""A host whose user model is a proxy: Django allows none of its own `User`, but of any other."""

from tests.hosts.base_settings import database
from tests.hosts.plain.settings import *  # noqa: F403
from tests.hosts.plain.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hosts.proxy_user"]
DATABASES = {"default": database("proxy")}
AUTH_USER_MODEL = "proxy_user.Person"
