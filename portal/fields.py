"""Form fields and widgets of the portal's own."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.budgets import OFF, check_budget_of_project
from anonusers.models.projects import validate_redirect_uri
from anonusers.networks import NETWORKS_MAX
from anonusers.project_keys import MOST, check_network
from portal.durations import grouped, in_words


class Switch(forms.CheckboxInput):
    """A checkbox that is drawn as a switch."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"class": "switch", "role": "switch", **(attrs or {})})


class Number(forms.TextInput):
    """A number with its unit. Not type=number: that drops what it cannot read and changes under the mouse wheel."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            {"class": "input", "inputmode": "numeric", "autocomplete": "off", "maxlength": 15, **(attrs or {})}
        )


class Seconds(Number):
    """A number of seconds, whose words stand below."""


class NumberField(forms.IntegerField):
    """A whole number within the bounds of the model's field."""

    widget = Number
    unit: Any = ""
    default_error_messages = {
        "required": _("Enter a number."),
        "invalid": _("Enter a whole number, such as 30."),
    }

    def to_python(self, value: Any) -> int | None:
        text = str(value if value is not None else "").strip()
        # int() would also read "1_800" and Arabic digits, which nobody types here on purpose.
        if text and not (text.isascii() and text.isdigit()):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(text)

    def bound_by(self, field: "models.Field[Any, Any]") -> None:
        """Take over the bounds of the model's field, and say them in words when they are missed."""
        # The column's own 32 bits are bounds too; the narrowest count.
        most = [v.limit_value for v in field.validators if isinstance(v, MaxValueValidator)]
        if field.name in MOST:
            most.append(MOST[field.name])
        self.keep_between(max(v.limit_value for v in field.validators if isinstance(v, MinValueValidator)), min(most))

    def keep_between(self, low: int, high: int) -> None:
        """Refuse what is below `low` or above `high`."""
        self.min_value, self.max_value = low, high
        self.widget.attrs |= {"data-min": low, "data-max": high}  # the live sentence is silent outside
        below, above = self.bounds_in_words(low, high)
        self.validators = [MinValueValidator(low, below), MaxValueValidator(high, above)]

    def bounds_in_words(self, low: int, high: int) -> tuple[Any, Any]:
        """What is said about a number that is too small, and about one that is too large."""
        words = _("Enter a number from %(low)s to %(high)s.") % {"low": grouped(low), "high": grouped(high)}
        return words, words


class DaysField(NumberField):
    """A number of days."""

    unit = _("days")
    default_error_messages = {
        "required": _("Enter a number of days."),
        "invalid": _("Enter a whole number of days, such as 30."),
    }


class GuestsField(NumberField):
    """A number of guests."""

    unit = _("guests")
    default_error_messages = {"invalid": _("Enter a whole number, such as 100000.")}


class PercentField(NumberField):
    """A share."""

    unit = "%"


class SecondsField(NumberField):
    """A whole number of seconds within the bounds of the model's field."""

    widget = Seconds
    unit = _("seconds")
    default_error_messages = {
        "required": _("Enter a number of seconds."),
        "invalid": _("Enter a whole number of seconds, such as 1800."),
    }

    def bounds_in_words(self, low: int, high: int) -> tuple[Any, Any]:
        bounds = (
            (low, _("Enter at least %(seconds)s seconds (%(words)s).")),
            (high, _("Enter at most %(seconds)s seconds (%(words)s).")),
        )
        least, most = (words % {"seconds": grouped(limit), "words": in_words(limit)} for limit, words in bounds)
        return least, most


class BudgetField(forms.CharField):
    """So many in so much time, `off`, or nothing: the server's default, which `default` says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.default = OFF

    def stands_for(self, default: str) -> None:
        """Say what an empty entry means here."""
        self.default = default
        self.widget.attrs |= {
            "class": "input mono",
            "placeholder": default,
            "autocomplete": "off",
            "autocapitalize": "none",
            "spellcheck": "false",
            "dir": "ltr",
        }

    def validate(self, value: Any) -> None:
        super().validate(value)
        try:
            check_budget_of_project(value)
        except ValueError as error:
            raise ValidationError(str(error), code="invalid") from error


class LinesField(forms.CharField):
    """A list, one entry a line."""

    widget = forms.Textarea
    most = 100
    too_many: Any = _("Enter at most %(count)d lines.")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.widget.attrs.update(
            {"class": "input mono", "rows": 3, "spellcheck": "false", "autocomplete": "off", "dir": "ltr"}
        )

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.entries_of(data)

    def to_python(self, value: Any) -> Any:
        return self.entries_of(super().to_python(value))

    def entries_of(self, text: Any) -> list[str]:
        """The lines that say something."""
        return [line.strip() for line in str(text or "").splitlines() if line.strip()]

    def check(self, entry: str) -> None:
        """Raises: ValidationError, ValueError"""
        raise NotImplementedError

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > self.most:
            raise ValidationError(self.too_many % {"count": self.most}, code="too_many")
        problems = []
        for position, entry in enumerate(value):
            try:
                self.check(entry)
            except (ValidationError, ValueError) as error:
                reason = error.message if isinstance(error, ValidationError) else str(error)
                problems.append(_("%(entry)s: %(reason)s") % {"entry": entry[:100], "reason": reason})
            else:
                if entry in value[:position]:
                    problems.append(_("%(entry)s is there twice.") % {"entry": entry[:100]})
        if problems:
            raise ValidationError(problems, code="invalid")


class URIListField(LinesField):
    """Redirect URIs, one a line."""

    too_many = _("Enter at most %(count)d URIs.")

    def check(self, entry: str) -> None:
        validate_redirect_uri(entry)


class NetworksField(LinesField):
    """Networks, one a line, some with the time for which they count."""

    most = NETWORKS_MAX
    too_many = _("Enter at most %(count)d networks.")

    def entries_of(self, text: Any) -> list[str]:
        return [" ".join(line.split()) for line in super().entries_of(text)]

    def check(self, entry: str) -> None:
        check_network(entry)
