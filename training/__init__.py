"""Training: turns a table of customers into a model version."""

from churn.engines import set_tensorflow_environment

# Must be set before TensorFlow is imported.
set_tensorflow_environment()
