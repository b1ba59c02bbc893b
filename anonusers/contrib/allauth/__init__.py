"""django-allauth (extra `allauth`): a guest who signs up by any of its ways stays the same user."""
