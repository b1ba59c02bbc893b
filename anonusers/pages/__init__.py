"""Hosted pages: HTML for people. They know `next` and no protocol."""
