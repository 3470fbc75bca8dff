"""Scoring of the rows of a query into a table."""
