"""Write the model card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.analysis import analyse
from training.report.page import describe, make_environment

if TYPE_CHECKING:
    from pathlib import Path

    from training.report.data import ReportData

TEMPLATE = "model_card.md.j2"

KNOWN_TABLES = {
    "ee2a5c9d8daf3aed0d91c4d883a84ebb77d271447bebc0f0c80aafb0f288ceab",
    "3996cd1fa372e0db0cd9c0ebac35bbd4e8e3c65fb942bb010c826e7b1eeef0a0",
}
"""SHA-256 of the public table `Churn_Modelling.csv`, with LF and with CRLF line ends."""


def write_model_card(path: Path, data: ReportData) -> None:
    """Write the model card as Markdown, with the sections of Mitchell et al. (2019); deterministic.

    "Model Cards for Model Reporting", FAT* 2019, doi:10.1145/3287560.3287596.

    Parameters
    ----------
    path : Path
    data : ReportData

    Raises
    ------
    ValueError
        If no part has both classes.
    """
    template = make_environment().get_template(TEMPLATE)
    text = template.render(describe(data, analyse(data)), is_public=data.source.get("sha256") in KNOWN_TABLES)
    path.write_text(text, encoding="utf-8", newline="\n")
