"""The `churn` command line. A command imports its implementation when it is called, which keeps `--help` fast."""
