"""The one way from a table's bytes to the raw matrix: form of a CSV, its records, their cells, Arrow columns.

`form` finds out how a CSV is written, `records` where its records end, `cells` parses them into columns, `encode` turns
columns into the raw matrix with everything that is wrong with them. `csv_file` drives them over a file, `csv_push` over
bytes as they arrive. Nothing here is imported by `churn` itself; `encode` and `cells` need pyarrow.
"""
