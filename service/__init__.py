"""The HTTP service: one customer or thousands in, churn probabilities out."""
