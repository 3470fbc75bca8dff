"""Scoring of CSV, Parquet and Arrow files in resumable steps."""
