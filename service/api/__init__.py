"""HTTP routes other than scoring, one module per resource, and the OpenAPI document."""
