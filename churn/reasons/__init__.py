"""Reasons: how much each feature of a customer adds to the probability, as Shapley values against a background."""
