"""The floor: what any Django REST Framework view costs that does one statement, on the same server and database."""
