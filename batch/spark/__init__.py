"""Scoring of tables with Spark."""
