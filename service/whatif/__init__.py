"""What would change a prediction: `POST /counterfactuals` and `POST /sensitivity`."""
