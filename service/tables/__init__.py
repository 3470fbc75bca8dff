"""Tables at `POST /predict`: CSV and Arrow streams, processed block by block."""
