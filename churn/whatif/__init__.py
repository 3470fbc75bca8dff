"""What would change a prediction: counterfactuals and sensitivity curves of one customer."""
