"""The command `churn` as the file that spark-submit wants."""

from cli.main import main

if __name__ == "__main__":
    main()
