"""Form fields and widgets of the portal's own."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from anonusers.models.projects import validate_redirect_uri
from portal.durations import grouped, in_words

URIS_MAX = 100


class Switch(forms.CheckboxInput):
    """A checkbox that is drawn as a switch."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"class": "switch", "role": "switch", **(attrs or {})})


class Seconds(forms.TextInput):
    """A number of seconds. Not type=number: that drops what it cannot read and changes under the mouse wheel."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__(
            {"class": "input", "inputmode": "numeric", "autocomplete": "off", "maxlength": 15, **(attrs or {})}
        )


class SecondsField(forms.IntegerField):
    """A whole number of seconds within the bounds of the model's field."""

    widget = Seconds
    default_error_messages = {
        "required": _("Enter a number of seconds."),
        "invalid": _("Enter a whole number of seconds, such as 1800."),
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
        self.keep_between(
            max(v.limit_value for v in field.validators if isinstance(v, MinValueValidator)),
            min(v.limit_value for v in field.validators if isinstance(v, MaxValueValidator)),
        )

    def keep_between(self, low: int, high: int) -> None:
        """Refuse what is below `low` or above `high`."""
        bounds = (
            (MinValueValidator, low, _("Enter at least %(seconds)s seconds (%(words)s).")),
            (MaxValueValidator, high, _("Enter at most %(seconds)s seconds (%(words)s).")),
        )
        self.min_value, self.max_value = low, high
        self.widget.attrs |= {"data-min": low, "data-max": high}  # the live sentence is silent outside
        self.validators = [
            validator(limit, message % {"seconds": grouped(limit), "words": in_words(limit)})
            for validator, limit, message in bounds
        ]


class URIListField(forms.CharField):
    """Redirect URIs, one a line."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.widget.attrs.update(
            {"class": "input mono", "rows": 3, "spellcheck": "false", "autocomplete": "off", "dir": "ltr"}
        )

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != [line.strip() for line in str(data or "").splitlines() if line.strip()]

    def to_python(self, value: Any) -> Any:
        lines = (super().to_python(value) or "").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def validate(self, value: Any) -> None:
        super().validate(value)
        if len(value) > URIS_MAX:
            raise ValidationError(_("Enter at most %(count)d URIs.") % {"count": URIS_MAX}, code="too_many")
        problems = []
        for position, uri in enumerate(value):
            try:
                validate_redirect_uri(uri)
            except ValidationError as error:
                problems.append(_("%(uri)s: %(reason)s") % {"uri": uri[:100], "reason": error.message})
            else:
                if uri in value[:position]:
                    problems.append(_("%(uri)s is there twice.") % {"uri": uri[:100]})
        if problems:
            raise ValidationError(problems, code="invalid")
