"""Files of customers in, files of probabilities out."""
