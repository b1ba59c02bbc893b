"""Columns of ours."""

from typing import Any

from django.db import models


class UniqueOrBlankField(models.CharField):
    """Text that is unique, unless it is blank: stored as NULL then, of which a unique index allows many on every
    database."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"unique": True, "null": True, "blank": True, "default": ""})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for fixed in ("unique", "null", "blank", "default"):
            options.pop(fixed, None)
        return name, path, args, options

    def from_db_value(self, value: str | None, *args: Any) -> str:
        return value or ""

    def to_python(self, value: Any) -> str:
        return "" if value is None else str(super().to_python(value))

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value) or None
