"""Scoring files: CSV, Parquet and Arrow, in parts that a killed job resumes."""
