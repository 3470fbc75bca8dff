"""The search for hyperparameters of the default network: validation parts only, resumable, the same for the same seed.

From left to right: `space` says what may be tried, `objective` cross-validates one configuration in a
process that `worker` starts, `pruning` gives up
on one that is worse, `storage` remembers, `search` walks the line, `confirm` asks on other folds whether it was luck.
"""
