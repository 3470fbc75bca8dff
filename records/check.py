"""Try a store, in a process of its own: a service's supervisor needs nothing of it afterwards."""

from __future__ import annotations

import sys

from churn.errors import TableError

UNUSABLE, UNREACHABLE = 2, 3
"""Exit statuses: the URL can never be used; the database can't be used now."""


def main() -> int:
    """Open the store whose URL is on standard input, creating it; return an exit status, and print why it is not 0."""
    url = sys.stdin.read()
    try:
        from records.store import open_records, open_store

        open_records(url, must_exist=False)
    except TableError as error:
        sys.stdout.write(str(error))
        return UNUSABLE
    except ModuleNotFoundError as error:
        sys.stdout.write(f"{error.name} is not installed: pip install 'churn[records]'")
        return UNUSABLE
    try:
        open_store(url, create=True)
    except (TableError, OSError) as error:
        sys.stdout.write(str(error))
        return UNREACHABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
