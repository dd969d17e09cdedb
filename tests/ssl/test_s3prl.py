"""A checkpoint in s3prl's format, written by a plain re-implementation of its model.

The reference follows the structure of s3prl/upstream/mockingjay/model.py (names of modules,
separate query, key and value, additive mask, LayerNorm with epsilon inside the root).
"""

import argparse
import math

import pytest
import torch
from torch import nn

from espnet_ext.errors import InputError
from espnet_ext.ssl.checkpoint import read_pretrained
from espnet_ext.ssl.encoder import MockingjayEncoder, ReconstructionHead
from espnet_ext.ssl.frontend import MockingjayFrontend
from espnet_ext.ssl.s3prl import read_s3prl
from espnet_ext.ssl.upstream import MockingjayUpstream

HIDDEN, FF, HEADS, LAYERS, INPUT, RATE = 24, 40, 3, 2, 5, 3
SETTINGS = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_act": "gelu",
    "intermediate_size": FF,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.2,
    "initializer_range": 0.02,
    "layer_norm_eps": "1e-12",
    "share_layer": False,
    "pre_layer_norm": False,
}


def gelu(x):
    return x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2.0)))


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(HIDDEN) + 0.5)
        self.bias = nn.Parameter(torch.randn(HIDDEN))

    def forward(self, x):
        centred = x - x.mean(-1, keepdim=True)
        return (
            self.weight * centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-12).sqrt()
            + self.bias
        )


def named(**modules):
    return nn.ModuleDict(modules)


class Reference(nn.Module):
    """s3prl's TransformerModel."""

    def __init__(self):
        super().__init__()
        self.input_representations = named(
            spec_transform=nn.Linear(INPUT * RATE, HIDDEN), LayerNorm=Norm()
        )
        self.encoder = named(layer=nn.ModuleList(self.make_layer() for _ in range(LAYERS)))

    def make_layer(self):
        return nn.ModuleDict({
            "attention": nn.ModuleDict({
                "self": named(**{n: nn.Linear(HIDDEN, HIDDEN) for n in ("query", "key", "value")}),
                "output": named(dense=nn.Linear(HIDDEN, HIDDEN), LayerNorm=Norm()),
            }),
            "intermediate": named(dense=nn.Linear(HIDDEN, FF)),
            "output": named(dense=nn.Linear(FF, HIDDEN), LayerNorm=Norm()),
        })  # fmt: skip

    def forward(self, steps, lengths):
        embedding = self.input_representations
        states = embedding["LayerNorm"](embedding["spec_transform"](steps) + self.positions(steps))
        mask = torch.zeros(steps.shape[:2])
        for row, length in zip(mask, lengths, strict=True):
            row[length:] = -10000.0
        all_states = [states]
        for layer in self.encoder["layer"]:
            all_states.append(self.run_layer(layer, all_states[-1], mask[:, None]))
        return all_states

    def run_layer(self, layer, states, mask):
        attention = layer["attention"]
        query, key, value = (
            attention["self"][n](states).unflatten(-1, (HEADS, -1))
            for n in ("query", "key", "value")
        )
        context = []
        for h in range(HEADS):
            scores = query[:, :, h] @ key[:, :, h].mT / math.sqrt(HIDDEN // HEADS) + mask
            context.append(scores.softmax(-1) @ value[:, :, h])
        output = attention["output"]
        states = output["LayerNorm"](output["dense"](torch.cat(context, -1)) + states)
        inner = gelu(layer["intermediate"]["dense"](states))
        return layer["output"]["LayerNorm"](layer["output"]["dense"](inner) + states)

    def positions(self, steps):
        table = torch.zeros(steps.size(1), HIDDEN)
        for p in range(steps.size(1)):
            for i in range(HIDDEN):
                angle = p / 10000 ** (2 * (i // 2) / HIDDEN)
                table[p, i] = math.sin(angle) if i % 2 == 0 else math.cos(angle)
        return table


def reference_head():
    return named(
        dense=nn.Linear(HIDDEN, HIDDEN), LayerNorm=Norm(), output=nn.Linear(HIDDEN, INPUT * RATE)
    )


@pytest.fixture
def reference():
    torch.manual_seed(0)
    return Reference().eval()


def states_of(reference, place="Config", **changes):
    """The dictionary that is saved, by the three ways in which versions keep the settings."""
    settings = {**SETTINGS, **changes}
    config = {"transformer": settings, "task": {"downsample_rate": RATE}, "dataloader": {}}
    kept = {
        "Config": {"Config": config, "Runner": {}, "Args": argparse.Namespace(seed=1)},
        "Upstream_Config": {"Upstream_Config": config, "Config": {"runner": {}}},
        "Settings": {"Settings": {"Config": config, "Paras": argparse.Namespace(seed=1)}},
    }[place]
    return {"Transformer": reference.state_dict(), "Step": 7, "Optimizer": {"lr": 1.0}, **kept}


@pytest.fixture
def batch():
    feats = torch.randn(2, 30, INPUT, generator=torch.Generator().manual_seed(1))
    return feats, torch.tensor([30, 18])


@pytest.mark.parametrize("place", ["Config", "Upstream_Config", "Settings"])
def test_outputs_are_those_of_the_original(tmp_path, reference, batch, place):
    torch.save(states_of(reference, place), tmp_path / "states-7.ckpt")
    encoder = read_pretrained(tmp_path / "states-7.ckpt").build().eval()
    states, lengths = encoder(*batch)
    expected = reference(batch[0].reshape(2, 10, -1), [10, 6])
    assert lengths.tolist() == [10, 6]
    for ours, theirs in zip(states, expected, strict=True):
        for row, n in enumerate(lengths):
            torch.testing.assert_close(ours[row, :n], theirs[row, :n], atol=1e-5, rtol=1e-5)


def test_head_is_that_of_the_original(tmp_path, reference):
    head = reference_head()
    saved = {**states_of(reference), "SpecHead": head.state_dict()}
    torch.save(saved, tmp_path / "states-7.ckpt")
    ours = ReconstructionHead(HIDDEN, INPUT * RATE)
    ours.load_state_dict(read_s3prl(tmp_path / "states-7.ckpt")[2])
    states = torch.randn(4, HIDDEN)
    expected = head["output"](head["LayerNorm"](gelu(head["dense"](states))))
    torch.testing.assert_close(ours(states), expected, atol=1e-5, rtol=1e-5)


def test_settings_become_arguments(tmp_path, reference):
    torch.save(states_of(reference), tmp_path / "states-7.ckpt")
    conf, weights, head, _ = read_s3prl(tmp_path / "states-7.ckpt")
    assert conf == {
        "input_size": INPUT, "hidden_size": HIDDEN, "num_layers": LAYERS, "num_heads": HEADS,
        "ff_size": FF, "downsample": RATE, "dropout": 0.1, "attention_dropout": 0.2,
    }  # fmt: skip
    assert head is None
    assert set(weights) == set(MockingjayEncoder(**conf).state_dict())


def test_oldest_names(tmp_path, reference):
    saved = states_of(reference, "Settings")
    weights = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): v
        for k, v in saved.pop("Transformer").items()
    }
    config = saved["Settings"]["Config"]
    config["mockingjay"] = config.pop("transformer")
    torch.save({**saved, "Mockingjay": weights}, tmp_path / "mockingjay-7.ckpt")
    conf, ours, *_ = read_s3prl(tmp_path / "mockingjay-7.ckpt")
    norm = reference.encoder["layer"][1]["output"]["LayerNorm"]
    torch.testing.assert_close(ours["layers.1.norm.weight"], norm.weight)
    assert conf["downsample"] == RATE


def test_upstream_takes_the_file(tmp_path, reference, batch):
    torch.save(states_of(reference), tmp_path / "states-7.ckpt")
    upstream = MockingjayUpstream(INPUT, checkpoint=str(tmp_path / "states-7.ckpt"))
    states, lengths = upstream(*batch)
    assert states.shape == (2, 30, HIDDEN)
    assert lengths.tolist() == [30, 18]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pre_layer_norm": True}, "only post-LN"),
        ({"hidden_act": "relu"}, "relu, only gelu"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps: 1e-05"),
        ({"num_hidden_layers": 3}, r"missing: encoder\.layer\.2\.attention"),
        ({"num_hidden_layers": 1}, r"without a place: encoder\.layer\.1\.attention"),
    ],
)
def test_other_models_are_refused(tmp_path, reference, changes, message):
    torch.save(states_of(reference, **changes), tmp_path / "states.ckpt")
    with pytest.raises(InputError, match=message):
        read_s3prl(tmp_path / "states.ckpt")


PLAIN = {"n_fft": 400, "win_length": 400, "hop_length": 160, "deltas": False, "n_mels": INPUT}
CONFIGURED = {
    "frontend": "mel",
    "frontend_conf": PLAIN,
    "normalize": "utterance",
    "normalize_conf": {"mean": True, "variance": True},
}
INPUT_OF_AUDIO = {"feat_type": "mel", "channel": 0, "log": True, "delta": 0, "cmvn": True}
AUDIO = {"win_ms": 25, "hop_ms": 10, "n_mels": INPUT, "n_freq": 201, "input": INPUT_OF_AUDIO}
KALDI = {
    "feat_type": "fbank",
    "fbank": {"frame_length": 25.0, "frame_shift": 10.0, "num_mel_bins": INPUT},
    "delta": {"order": 2},
    "cmvn": {"use_cmvn": True},
}


def save_with_features(path, reference, **sections):
    saved = states_of(reference)
    saved["Config"] |= sections
    torch.save(saved, path)
    return str(path)


@pytest.mark.parametrize("section", ["audio", "online"])
def test_a_file_that_names_its_features_is_taken_on_these(tmp_path, reference, section, caplog):
    path = save_with_features(tmp_path / "states.ckpt", reference, **{section: AUDIO})
    assert MockingjayUpstream(INPUT, checkpoint=path, features=CONFIGURED).output_size() == HIDDEN
    assert not caplog.text
    frontend = MockingjayFrontend(checkpoint=path, **CONFIGURED)
    assert frontend.output_size() == HIDDEN


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"audio": {**AUDIO, "win_ms": 50}},
            r"window_ms: 50\.0 in the checkpoint, 25",
        ),
        ({"audio": {**AUDIO, "hop_ms": 12.5}}, r"hop_ms: 12\.5 in the checkpoint, 10\.0"),
        ({"audio": {**AUDIO, "n_mels": 40}}, f"n_mels: 40 in the checkpoint, {INPUT}"),
        ({"audio": {**AUDIO, "sample_rate": 8000}}, "sample_rate: 8000 in the checkpoint, 16000"),
        *(
            ({"audio": {**AUDIO, "input": {**INPUT_OF_AUDIO, key: value}}}, message)
            for key, value, message in [
                ("feat_type", "linear", "features: linear in the checkpoint, mel configured"),
                ("delta", 1, "deltas: 1 in the checkpoint, 0"),
                ("cmvn", False, "normalised: False in the checkpoint, True"),
                ("log", False, "log: False in the checkpoint, True"),
            ]
        ),
        ({"audio": {"kaldi": KALDI}}, r"features: fbank .*\n(.|\n)*deltas: 2 in the checkpoint, 0"),
        ({"dataloader": {"data_path": "data/libri_fmllr_cmvn"}}, "features: fmllr .*, mel"),
    ],
)
def test_other_features_than_the_file_names_are_refused(tmp_path, reference, sections, message):
    path = save_with_features(tmp_path / "states.ckpt", reference, **sections)
    with pytest.raises(InputError, match=rf"other features:\n(.|\n)*{message}"):
        MockingjayUpstream(INPUT, checkpoint=path, features=CONFIGURED)
    with pytest.raises(InputError, match="other features"):
        MockingjayFrontend(checkpoint=path, **CONFIGURED)


def test_a_file_that_names_no_features_is_taken_with_a_warning(tmp_path, reference, caplog):
    path = save_with_features(tmp_path / "states.ckpt", reference)
    MockingjayUpstream(INPUT, checkpoint=path, features=CONFIGURED)
    assert "does not say on which features" in caplog.text


def test_weights_that_are_not_finite_are_refused(tmp_path, reference):
    reference.encoder["layer"][0]["output"]["dense"].bias.data[1] = float("nan")
    torch.save(states_of(reference), tmp_path / "states.ckpt")
    with pytest.raises(InputError, match=r"1 of .* not finite.* layers\.0\.outer\.bias"):
        read_s3prl(tmp_path / "states.ckpt")


class Dangerous:
    def __reduce__(self):
        return (print, ("this file has run code",))


def test_file_that_would_run_code_is_refused(tmp_path, reference, capsys, caplog):
    path = tmp_path / "states.ckpt"
    torch.save({**states_of(reference), "Scheduler": Dangerous()}, path)
    with pytest.raises(InputError, match="--allow_pickle true"):
        read_s3prl(path)
    assert not capsys.readouterr().out
    read_s3prl(path, allow_pickle=True)
    assert "has run code" in capsys.readouterr().out
    assert "can run any code" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {}}, "it has model, but no Transformer"),
        ([1, 2], "which is a dictionary"),
        ({"Transformer": {}, "Config": {}}, "no configuration of a Transformer"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "states.ckpt")
    with pytest.raises(InputError, match=message):
        read_s3prl(tmp_path / "states.ckpt")


def test_damaged_file(tmp_path):
    (tmp_path / "states.ckpt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="damaged"):
        read_s3prl(tmp_path / "states.ckpt")
