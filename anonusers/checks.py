"""System checks of settings and deployment; ids are unique (tests/test_house.py)."""
