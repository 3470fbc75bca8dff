"""The report on judged decisions (HTML)."""
