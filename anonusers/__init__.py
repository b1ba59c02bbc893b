"""Guest users for Django: real accounts with one call and no form, promoted later with the same id."""

__version__ = "0.1.0"
