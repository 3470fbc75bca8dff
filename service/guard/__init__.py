"""Limits on the size and duration of requests."""
