"""Training on tables larger than memory.

`job` runs the steps: `training.source` reads the table in batches, `inspect` infers the schema, `spread` encodes every
row and distributes the rows at random over shards, `sample` fits the default network on a sample, `records` writes the
network's input for all training rows, `fit` trains on them, and `count` evaluates all rows.
"""
