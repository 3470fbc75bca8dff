"""Read tables into the raw matrix; shared by training, service and batch jobs.

`form` detects the format of a CSV, `records` finds the ends of its records, `cells` parses records to columns, and
`encode` encodes and validates columns. `csv_file` reads from files, `csv_push` from bytes as they arrive. `churn` does
not import this package; `encode` and `cells` require pyarrow.
"""
