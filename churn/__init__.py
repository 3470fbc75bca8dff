"""Code shared by training, service and batch jobs: schema, preprocessing, engines, bundles, scoring.

Importing this package or its modules imports neither FastAPI nor pandas. TensorFlow and scikit-learn are imported only
by functions and modules that document it.
"""

__version__ = "0.1.0"
