"""Health checks, metrics and administration on a port of their own."""
