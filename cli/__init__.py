"""The command `churn`. Each command imports its job when it is called, so that `--help` is quick."""
