"""`POST /predict` with JSON: the fast path, parsing, scoring and the answer."""
