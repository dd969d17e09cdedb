import numpy as np
import pytest
import torch
from tiny import noise
from tiny_mockingjay import tiny_model

from espnet_ext.errors import InputError
from espnet_ext.frontend.mel import MelFrontend
from espnet_ext.ssl.encoder import MockingjayEncoder
from espnet_ext.ssl.masking import utterance_generator
from espnet_ext.ssl.model import MockingjayModel
from espnet_ext.ssl.pictures import draw, write_picture

NAMES = ["a", "b"]


def batch(*lengths, seed=0):
    rows = [torch.from_numpy(samples) for samples in noise(*lengths, seed=seed)]
    speech = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return speech, torch.tensor(lengths)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
    return model


def loss_by_hand(model, speech, lengths, names):
    """Mean absolute error over the masked steps, one utterance and one step at a time."""
    total, count = 0.0, 0
    for row, length, name in zip(speech, lengths.tolist(), names, strict=True):
        alone, frames = model.features(row[None, :length], torch.tensor([length]))
        steps, number = model.encoder.stack(alone, frames)
        generators = [utterance_generator(name, model.valid_seed)]
        mask = model.masking.draw(number, steps.size(1), generators, zero_only=True)
        states = model.encoder.encode(mask.apply(steps), number)[-1]
        for step in mask.selected[0].nonzero().flatten():
            total += (model.head(states[0, step]) - steps[0, step]).abs().mean().item()
            count += 1
    return total / count, count


def test_loss_is_the_error_on_masked_steps_alone():
    model = tiny_model().eval()
    speech, lengths = batch(8000, 5000)
    loss, stats, weight = model(speech, lengths, utt_id=NAMES)
    expected, count = loss_by_hand(model, speech, lengths, NAMES)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert stats["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert weight.item() == count


def test_loss_can_be_taken_over_all_steps():
    model = tiny_model(model_conf={"loss_on": "all"}).eval()
    speech, lengths = batch(8000, 5000)
    loss, _, weight = model(speech, lengths, utt_id=NAMES)
    rows = model.reconstruct(speech, lengths, NAMES)
    errors = torch.cat([(r.predicted - r.target).abs().flatten() for r in rows])
    assert loss.item() == pytest.approx(errors.mean().item(), rel=1e-4)
    assert weight.item() == sum(len(r.target) for r in rows) / 3


def test_validation_is_the_same_in_any_batch():
    model = tiny_model().eval()
    speech, lengths = batch(8000, 5000)
    speech[1, 5000:] = 7.0  # what is behind the end must not count
    together = model(speech, lengths, utt_id=NAMES)
    parts = [model(speech[i : i + 1, :n], lengths[i : i + 1], utt_id=NAMES[i : i + 1])
             for i, n in enumerate(lengths.tolist())]  # fmt: skip
    weights = [part[2].item() for part in parts]
    for name in ("loss", "loss_zero", "loss_interpolation"):
        mean = np.average([part[1][name].item() for part in parts], weights=weights)
        assert together[1][name].item() == pytest.approx(mean, rel=1e-4)


def test_zero_predictor_is_the_mean_magnitude_of_normalised_features():
    model = tiny_model().eval()
    speech, lengths = batch(30000, 30000)
    stats = model(speech, lengths, utt_id=NAMES)[1]
    # The mean magnitude of a normal variable.
    assert stats["loss_zero"].item() == pytest.approx(0.8, abs=0.1)
    assert "loss_zero" not in model.train()(speech, lengths, utt_id=NAMES)[1]


def test_masks_of_training_are_new_and_those_of_validation_are_not():
    model = without_dropout(tiny_model())
    speech, lengths = batch(8000, 5000)
    model.train()
    assert model(speech, lengths)[0] != model(speech, lengths)[0]
    model.eval()
    first, second = (model(speech, lengths, utt_id=NAMES)[0] for _ in range(2))
    assert first == second
    assert first != model(speech, lengths, utt_id=["c", "d"])[0]


def test_training_reduces_the_loss():
    model = without_dropout(tiny_model())
    speech, lengths = batch(8000, 8000)
    # Loud and quiet in turn, twice a second: white noise alone cannot be predicted.
    speech = speech * (torch.arange(8000) / 8000 * 4 * torch.pi).sin()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model(speech, lengths)[0].backward()
        optimizer.step()
    assert all(p.grad is not None for p in model.parameters())
    _, stats, _ = model.eval()(speech, lengths, utt_id=NAMES)
    assert stats["loss"].item() < 0.75 * stats["loss_zero"].item()


def test_mixed_precision_changes_little():
    model = tiny_model().eval()
    speech, lengths = batch(8000, 5000)
    expected = model(speech, lengths, utt_id=NAMES)[0].item()
    with torch.autocast("cpu", torch.bfloat16):
        found, stats, _ = model(speech, lengths, utt_id=NAMES)
    assert found.item() == pytest.approx(expected, rel=0.01)
    assert stats["loss_zero"].dtype == torch.float32


def test_utterance_too_short_to_be_masked_gives_no_loss_but_a_gradient():
    model = tiny_model()
    loss, _, weight = model(*batch(300))
    loss.backward()
    assert (loss.item(), weight.item()) == (0.0, 1.0)
    assert model.head.output.weight.grad.eq(0).all()


def test_collected_features_are_not_normalised():
    model = tiny_model()
    speech, lengths = batch(8000, 5000)
    found = model.collect_feats(speech, lengths)
    expected, frames = model.frontend(speech, lengths)
    torch.testing.assert_close(found["feats"], expected)
    assert found["feats_lengths"].tolist() == frames.tolist() == [101, 63]


def test_linear_target_is_normalised_and_aligned():
    sizes = {"fs": 8000, "n_fft": 256, "win_length": 200, "hop_length": 80}
    model = tiny_model(target="linear", target_conf=sizes).eval()
    speech, lengths = batch(8000, 5000)
    assert model(speech, lengths, utt_id=NAMES)[0].isfinite()
    long, short = model.reconstruct(speech, lengths, NAMES)
    assert long.masked.shape == (99, 20)
    assert long.target.shape == long.predicted.shape == (99, 129)
    assert len(short.target) == 63
    assert long.target.mean().abs() < 0.1
    assert long.target.std() == pytest.approx(1.0, abs=0.1)
    raw = tiny_model(target="linear", target_conf=sizes, model_conf={"normalize_target": False})
    assert raw.eval().reconstruct(speech, lengths, NAMES)[0].target.min() >= 0.0


def test_encoder_of_other_features_is_refused():
    encoder = MockingjayEncoder(80, 16, 1, 2, 32)
    with pytest.raises(InputError, match="160 dimensions, the encoder takes 80"):
        MockingjayModel(MelFrontend(), None, encoder)


def test_reconstruction_shows_what_was_hidden(tmp_path):
    model = tiny_model().eval()
    row = model.reconstruct(*batch(8000), ["utt1"])[0]
    assert row.masked[row.hidden].eq(0).all()
    torch.testing.assert_close(row.masked[~row.hidden], row.target[~row.hidden])
    write_picture(row, tmp_path / "new" / "picture.png", static=10)
    assert (tmp_path / "new" / "picture.png").read_bytes().startswith(b"\x89PNG")
    figure = draw(row)
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert [axis.get_title() for axis in figure.axes] == [
        "masked", "reconstructed", "reconstructed in the gaps", "true"
    ]  # fmt: skip
    np.testing.assert_allclose(shown[3], row.target.T.numpy())
    np.testing.assert_allclose(shown[2][:, row.hidden], row.predicted[row.hidden].T.numpy())
    np.testing.assert_allclose(shown[2][:, ~row.hidden], row.target[~row.hidden].T.numpy())
