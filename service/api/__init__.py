"""The routes around scoring, one file per resource, and the OpenAPI document."""
