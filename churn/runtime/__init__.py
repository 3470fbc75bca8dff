"""Helpers for the runtime environment: CPUs, imports, files."""
