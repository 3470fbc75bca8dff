"""The routes, one file per resource; `POST /predict` is `service.predict`."""
