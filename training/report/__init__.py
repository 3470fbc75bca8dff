"""What a person reads of a model: the report, one HTML file, and the model card, Markdown."""

from training.report.card import write_model_card
from training.report.data import Costs, ReportData
from training.report.page import write_report

__all__ = ["Costs", "ReportData", "write_model_card", "write_report"]
