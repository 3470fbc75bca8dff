"""Limits on what a request may bring and take."""
