"""The host's users, and the same ones with methods of their own."""

from django.contrib.auth.models import AbstractUser


class Account(AbstractUser):
    pass


class Person(Account):
    class Meta:
        proxy = True

    def greeting(self) -> str:
        return f"Hello {self.get_username()}"
