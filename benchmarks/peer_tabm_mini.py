"""TabM-mini, the variant of TabM with the best published log loss on this table, with published hyperparameters.

The configuration is `paper/exp/tabm-mini/churn` (yandex-research/tabm): 4 layers of 576 units shared by all members,
bfloat16. A fit takes several minutes on two cores, so it is not run by default: ``--models ours,tabm-mini``.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from peer_tabm import MEMBERS, PATIENCE, Encoder, fit_epoch, log_loss, predict

if TYPE_CHECKING:
    from peer_tabm import Predict

    from churn.schema import Schema

LEARNING_RATE = 0.00207614104200153
SHAPE = {"arch_type": "tabm-mini", "n_blocks": 4, "d_block": 576, "dropout": 0.03551802909894347}


def fit_tabm_mini(schema: Schema, train: Any, validation: Any, seed: int) -> Predict:  # noqa: ANN401  (raw, labels)
    """Fit TabM-mini on the training set, with early stopping on the validation log loss and PyTorch's threads."""
    import torch
    from tabm import TabM

    torch.manual_seed(seed)
    encode = Encoder(schema, train[0], seed)
    model = TabM.make(
        n_num_features=encode.numbers, cat_cardinalities=encode.cardinalities, d_out=1, k=MEMBERS, **SHAPE
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    shown, labels = encode(train[0]), torch.from_numpy(train[1].astype(np.float32))
    held = encode(validation[0])
    best, best_state, waited = np.inf, model.state_dict(), 0
    while waited < PATIENCE:
        with torch.autocast("cpu", torch.bfloat16):
            fit_epoch(model, optimizer, shown, labels)
        loss = log_loss(validation[1], predict(model, held))
        waited += 1
        if loss < best:
            best, best_state, waited = loss, copy.deepcopy(model.state_dict()), 0
    model.load_state_dict(best_state)
    return lambda raw: predict(model, encode(raw))
