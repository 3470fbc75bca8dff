"""The Keras layers a network may be made of; importing this module registers them for loading.

The networks of today are made of Keras' own layers. A layer of ours belongs here, under
``keras.saving.register_keras_serializable("churn")``, so that `model.keras` loads in safe mode.
"""
