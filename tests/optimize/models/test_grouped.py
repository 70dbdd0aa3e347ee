from __future__ import annotations

import torch
from torch import nn

from optimize.models.grouped import classified


def test_the_head_sees_the_mean_over_pixels_of_the_last_group() -> None:
    groups = [nn.MaxPool2d(2), nn.Hardtanh(max_val=5.0)]
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = classified(x, groups, nn.Identity(), output_hidden_states=True)
    # Pools to 5, 7, 13, 15, of which none is above 5 behind the second group.
    assert found.logits.tolist() == [[5.0]]
    assert [states.shape for states in found.hidden_states] == [(1, 1, 4, 4), (1, 1, 2, 2), (1, 1, 2, 2)]
    assert torch.equal(found.hidden_states[0], x)
    without = classified(x, groups, nn.Identity(), output_hidden_states=False)
    assert without.hidden_states is None
    assert torch.equal(without.logits, found.logits)
