"""The results that the public table's tutorial prints for its network, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.columns import encode_columns
from churn.errors import InvalidCustomersError

if TYPE_CHECKING:
    from training.dataset import Dataset
    from training.job import Outcome

CUSTOMER = {
    "CreditScore": 500,
    "Geography": "Spain",
    "Gender": "Female",
    "Age": 40,
    "Tenure": 3,
    "Balance": 50000.0,
    "NumOfProducts": 2,
    "HasCrCard": 1,
    "IsActiveMember": 1,
    "EstimatedSalary": 40000.0,
}
"""The new customer that the tutorial scores."""


def summarize(dataset: Dataset, outcome: Outcome) -> str:
    """Return loss, accuracy and confusion matrix as in the tutorial, and the score of its customer."""
    scores = outcome.scores.get("test") or outcome.scores["train"]
    (true_negative, false_positive), (false_negative, true_positive) = scores.confusion_matrix
    lines = [
        "",
        "as printed by the tutorial, which reports an accuracy of 85.8 %:",
        f"loss {scores.log_loss:.4f}, accuracy {scores.accuracy:.4f}",
        f"[[{true_negative:>4} {false_positive:>4}]\n [{false_negative:>4} {true_positive:>4}]]",
        f"accuracy from the confusion matrix: {(true_negative + true_positive) / scores.customers:.4f}",
    ]
    if set(dataset.schema.names) == set(CUSTOMER):
        try:
            raw = encode_columns(dataset.schema, {name: [value] for name, value in CUSTOMER.items()})
        except InvalidCustomersError as error:
            return "\n".join([*lines, f"the tutorial's customer can't be scored: {error}"])
        probability = float(outcome.trained.fitted.predict(raw)[0])
        verdict = "leaves" if probability > 0.5 else "stays"
        lines.append(f"the tutorial's customer leaves with probability {probability:.6f}: {verdict}")
    return "\n".join(lines)
