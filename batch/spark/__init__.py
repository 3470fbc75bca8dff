"""Scoring tables with Spark."""
