"""Training on a table that is too large for memory: read in batches, spread over a scratch folder, streamed.

From left to right: `read` yields the table batch by batch, `inspect` finds its schema, `spread` encodes every row and
puts it into one of many shards by chance, `sample` fits the default network on some of them, `records` writes
the network's matrix of all training rows, `fit` streams it past the network, `count` judges every row. `job` walks
that line.
"""
