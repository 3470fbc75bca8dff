"""The offline job: a table in, one versioned model out."""

from churn.engines import set_tensorflow_environment

# Before anything here imports TensorFlow.
set_tensorflow_environment()
