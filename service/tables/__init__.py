"""`POST /predict` with a table: CSV and Arrow streams, read, scored and answered block by block."""
