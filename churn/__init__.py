"""The domain that training, service and batch share: schema, preprocessing, engines, bundles, scoring.

Importing this package, or any module in it, imports neither FastAPI nor pandas; TensorFlow and
scikit-learn are imported only by the functions and modules that say so.
"""

__version__ = "0.1.0"
