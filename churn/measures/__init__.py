"""Measures of predicted probabilities, with intervals; NumPy alone, so that the service can import them."""
