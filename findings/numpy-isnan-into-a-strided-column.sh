#!/usr/bin/env bash
# numpy.isnan, isinf, isfinite and signbit with out= a column of a two-dimensional boolean array leave most of it
# unwritten: of each 16 values only the first few flags are set, with no error and no warning. With a contiguous out=
# or without out= all four are right.
# Seen: 20 NaNs into one column of a (20, 2) array: 6 of 20 flags for float64 (places 0, 1 and the last 4, behind the
# last whole 16), 8 of 20 for float32; a column of 15 values is right, so tests with few rows do not see it. The same
# with the AVX2 and AVX-512 code switched off.
# Hurts: masks of gaps built column by column (one row a customer, one column a feature).
# Versions: numpy 2.4.6, 2.3.5, 2.2.6; Python 3.11, x86-64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np

print("numpy", np.__version__)
for dtype in (np.float64, np.float32):
    gaps = np.full(20, np.nan, dtype)
    seen = {}
    for function in (np.isnan, np.isinf, np.isfinite, np.signbit):
        values = {"isnan": gaps, "isinf": np.full(20, np.inf, dtype), "isfinite": np.ones(20, dtype)}.get(
            function.__name__, -np.ones(20, dtype)
        )
        flags = np.zeros((20, 2), bool)
        function(values, out=flags[:, 0])
        seen[function.__name__] = int(flags[:, 0].sum())
        assert function(values).all()
        assert function(values, out=np.zeros(20, bool)).all()
    print(np.dtype(dtype).name, "flags set of 20:", seen)
    short = np.zeros((15, 2), bool)
    np.isnan(gaps[:15], out=short[:, 0])
    print(np.dtype(dtype).name, "flags set of 15:", int(short[:, 0].sum()))
    assert set(seen.values()) == {6 if dtype is np.float64 else 8}, "the behaviour has changed"
PYTHON
