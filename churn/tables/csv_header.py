"""Write the header of a CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def write_header(names: Sequence[str]) -> bytes:
    """Return the header line in UTF-8, ended by LF, with quotes only where necessary; pyarrow quotes all names."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()
