"""What a guest's row says where it must say something."""

import uuid
from datetime import date
from typing import Any

from anonusers.adapters import Adapter


class CustomerAdapter(Adapter):
    def guest_values(self, sub: uuid.UUID) -> dict[str, Any]:
        return super().guest_values(sub) | {"full_name": "Guest", "born_on": date(1900, 1, 1)}
