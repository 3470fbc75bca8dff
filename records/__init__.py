"""The decision store: every scored customer, found again, verified, replayed and judged."""
