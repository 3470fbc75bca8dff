"""Hyperparameter search for the default network: uses cross-validation only, resumable, reproducible with a seed.

`space` defines the search space, `objective` cross-validates a configuration in a process started by `worker`,
`pruning` stops bad trials, `storage` stores trials, `search` runs the search, and `confirm` compares the result with
the default on other folds.
"""
