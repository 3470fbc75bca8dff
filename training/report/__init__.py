"""The report (HTML) and the model card (Markdown) of a model version."""

from training.report.card import write_model_card
from training.report.data import Costs, ReportData
from training.report.entry import describe_evaluation
from training.report.page import write_report

__all__ = ["Costs", "ReportData", "describe_evaluation", "write_model_card", "write_report"]
