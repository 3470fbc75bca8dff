"""The `churn` command as a script for spark-submit."""

from cli.main import main

if __name__ == "__main__":
    main()
