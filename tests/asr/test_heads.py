import pytest
import torch

from espnet_ext.asr.heads import UtteranceClassifier, classification_loss, masked_mean


def test_masked_mean_leaves_padding_out():
    frames = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    assert masked_mean(frames, torch.tensor([2])).tolist() == [[2.0, 3.0]]


def test_masked_mean_of_padded_rows_equals_that_of_each_row():
    frames = torch.randn(3, 7, 4)
    lengths = torch.tensor([7, 5, 2])
    together = masked_mean(frames, lengths)
    for row, length, mean in zip(frames, lengths, together, strict=True):
        torch.testing.assert_close(mean, row[:length].mean(dim=0))


def test_classifier_has_the_papers_five_fully_connected_layers():
    head = UtteranceClassifier(8, ["us", "gb", "in"])
    linear = [m for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == 5
    assert head(torch.randn(2, 9, 8), torch.tensor([9, 4])).shape == (2, 3)


def test_signal_does_not_fade_through_the_layers_of_a_new_classifier():
    torch.manual_seed(0)
    head = UtteranceClassifier(64, ["us", "gb"]).eval()
    frames = torch.randn(200, 1, 64)
    assert head(frames, torch.ones(200, dtype=torch.long)).std() > 0.3


def test_missing_label_does_not_count():
    logits = torch.randn(4, 3)
    known = classification_loss(logits[:2], torch.tensor([0, 2]))
    with_missing = classification_loss(logits, torch.tensor([0, 2, -1, -1]))
    torch.testing.assert_close(with_missing, known)


def test_loss_without_any_label_is_zero_and_has_a_gradient():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = classification_loss(logits, torch.tensor([-1, -1]))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad.abs().sum() == 0.0


@pytest.mark.parametrize("layers", [1, 2])
def test_number_of_layers_is_an_option(layers):
    head = UtteranceClassifier(8, ["a", "b"], num_layers=layers)
    assert sum(isinstance(m, torch.nn.Linear) for m in head.modules()) == layers
