"""What may hang on a user."""

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

USER = settings.AUTH_USER_MODEL


class Row(models.Model):
    text = models.CharField(max_length=20, blank=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.text


class Basket(Row):
    user = models.ForeignKey(USER, models.CASCADE, related_name="+")


class Line(Row):
    """Goes with its basket."""

    basket = models.ForeignKey(Basket, models.CASCADE)


class Deposit(Row):
    """Forbids that its basket goes."""

    basket = models.ForeignKey(Basket, models.PROTECT)


class Claim(Row):
    """Forbids it, too, unless what it belongs to goes as well."""

    basket = models.ForeignKey(Basket, models.RESTRICT)


class Order(Row):
    buyer = models.ForeignKey(USER, models.SET_NULL, null=True, related_name="+")


class Profile(Row):
    user = models.OneToOneField(USER, models.CASCADE, related_name="shop_profile")


class Badge(Row):
    holders = models.ManyToManyField(USER)


class Seat(Row):
    guest = models.ForeignKey("anonusers.EndUser", models.CASCADE, related_name="+")


class Handle(Row):
    """Leads to another column than the primary key."""

    user = models.ForeignKey(USER, models.CASCADE, to_field="username", related_name="+")


class Note(Row):
    """About anything."""

    content_type = models.ForeignKey(ContentType, models.CASCADE)
    object_id = models.CharField(max_length=40)
    about = GenericForeignKey()
