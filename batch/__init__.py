"""Batch scoring of files, database queries and Spark tables."""
