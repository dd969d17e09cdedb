"""A small random recognizer of every family that ESPnet decodes."""

import argparse
import copy
from importlib.util import find_spec

import pytest
import torch
import yaml
from espnet2.tasks.ssl import SSLTask
from tiny import RATE, TOKENS, tiny_config
from whispers import save_whisper

from espnet_ext.tasks.asr_transducer import TransducerTask
from espnet_ext.tasks.loading import ASR_KIND, load_model
from espnet_ext.tasks.mtl_asr import MTLASRTask
from espnet_ext.tasks.s2t import SYMBOLS, PromptedS2TTask

SIZES = {"output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 2}
BEATS = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}
BEATS |= {"encoder_attention_heads": 2, "embed_dim": 8}
STFT = {"fs": RATE, "n_fft": 256, "hop_length": 80, "n_mels": 20}
HUBERT = {
    "encoder_embed_dim": 16,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
    "extractor_conv_layer_config": [[16, 10, 5], [16, 8, 4], [16, 4, 4]],
    "encoder_pos_conv_kernel": 8,
    "encoder_pos_conv_groups": 2,
    "num_classes": 10,
    "final_dim": 8,
    "finetuning": True,
}
FUSED = [
    {
        **{"frontend_type": "default", "fs": RATE, "win_length": n_fft, "window": "hann"},
        **{"n_fft": n_fft, "hop_length": hop, "n_mels": mels, "center": True, "normalized": False},
        **{"onesided": True, "fmin": None, "fmax": None, "htk": False, "apply_stft": True},
    }
    for n_fft, hop, mels in ((256, 80, 20), (512, 160, 10))
]
CNN = {"fs": RATE, "norm_mode": "layer_norm", "conv_mode": "standard", "bias": False}
CNN |= {"shapes": [[16, 10, 5], [16, 8, 4], [16, 4, 4]]}
BEAMFORMER = {"use_wpe": True, "use_beamformer": True, "wlayers": 1, "wunits": 8, "wprojs": 8}
BEAMFORMER |= {"blayers": 1, "bunits": 8, "bprojs": 8}


def _encoder(name, **conf):
    return {"encoder": name, "encoder_conf": conf}


def tiny_encoder(name):
    """The keys of an encoder that `tiny_config` knows."""
    config = tiny_config(name)
    return {key: config[key] for key in ("encoder", "encoder_conf")}


def _transducer(ctc_weight, **conf):
    return {
        "decoder": "transducer",
        "decoder_conf": {"hidden_size": 16, **conf},
        "joint_net_conf": {"joint_space_size": 16},
        "model_conf": {"ctc_weight": ctc_weight},
    }


CHANGES = {
    "conformer": {},
    "transformer": tiny_encoder("transformer"),
    "e_branchformer": tiny_encoder("e_branchformer"),
    "ctc_alone": {"decoder": None, "model_conf": {"ctc_weight": 1.0}},
    "attention_alone": {"model_conf": {"ctc_weight": 0.0}},
    "transducer": _transducer(0.3),
    "transducer_gru": _transducer(0.0, rnn_type="gru", num_layers=2),
    "rnn": {
        **_encoder("rnn", hidden_size=16, output_size=16, num_layers=1),
        **{"decoder": "rnn", "decoder_conf": {"hidden_size": 16, "att_conf": {"adim": 16}}},
    },
    "vgg_rnn": _encoder("vgg_rnn", hidden_size=16, output_size=16, num_layers=1),
    "branchformer": _encoder(
        "branchformer",
        **{"output_size": 16, "attention_heads": 2, "num_blocks": 2},
        **{"cgmlp_linear_units": 32, "cgmlp_conv_kernel": 7},
    ),
    "multiconv_conformer": _encoder("multiconv_conformer", **SIZES),
    "streaming": _encoder("contextual_block_conformer", **SIZES),
    "intermediate_ctc": {
        **_encoder("conformer", **SIZES, interctc_layer_idx=[1], interctc_use_conditioning=True),
        "model_conf": {"ctc_weight": 0.5, "interctc_weight": 0.5},
    },
    "hubert": {"input_size": 1, "frontend": None, "normalize": None}
    | _encoder("torchaudiohubert", **HUBERT),
    "fused": {
        "frontend": "fused",
        "frontend_conf": {
            **{"fs": RATE, "frontends": FUSED, "proj_dim": 8},
            "align_method": "linear_projection",
        },
    },
    "wav2vec_cnn": {"frontend": "wav2vec_cnn", "frontend_conf": CNN},
    "espnet_ssl": {
        "frontend": "espnet_ssl",
        "frontend_conf": {"fs": RATE, "multilayer_feature": True, "frontend_conf": {}},
    },
    "beats": {"input_size": 1, "frontend": None, "normalize": None}
    | _encoder("beats", beats_config=BEATS),
    "beamformer": {"frontend_conf": {**STFT, "frontend_conf": BEAMFORMER}},
    "raw_waveform": {
        "frontend": "sliding_window",
        "frontend_conf": {"win_length": 400, "hop_length": 160, "fs": RATE},
        "preencoder": "sinc",
        "preencoder_conf": {"fs": RATE},
    },
    "linear": {"preencoder": "linear", "preencoder_conf": {"input_size": 20, "output_size": 12}},
    "length_adaptor": {
        "postencoder": "length_adaptor",
        "postencoder_conf": {"length_adaptor_n_layers": 1},
    },
}
"""What is changed of `tiny_config`."""
CHANGES |= {
    decoder: {
        "decoder": decoder,
        "decoder_conf": {
            **{"attention_heads": 2, "linear_units": 32, "num_blocks": 1},
            **{"conv_wshare": 2, "conv_kernel_length": [3]},
        },
    }
    for decoder in ("lightweight_conv", "dynamic_conv2d")
}


def rnnt_losses(logits, labels, frames, counts, blank=0):
    """Transducer losses (B,) by the recursion of Graves (2012), in the precision of `logits`."""
    found = []
    for scores, ids, last, count in zip(
        logits.log_softmax(-1), labels.tolist(), frames, counts, strict=True
    ):
        before = None  # log probability of each number of labels, before the frame
        for row in scores[:last]:
            here = [scores.new_zeros(()) if before is None else before[0]]
            for u in range(1, int(count) + 1):
                emitted = here[u - 1] + row[u - 1, ids[u - 1]]
                here.append(emitted if before is None else torch.logaddexp(emitted, before[u]))
            before = [value + row[u, blank] for u, value in enumerate(here)]
        found.append(-before[-1])
    return torch.stack(found)


TIMES = [f"<{i * 0.02:.2f}>" for i in range(51)]
S2T = {
    "token_list": [
        *TOKENS[:-1],
        *("<na>", "<nolang>", "<eng>", "<deu>", "<asr>", "<st_eng>", "<notimestamps>"),
        *(*TIMES, "<sos>", "<eos>", "<sop>"),
    ],
    "preprocessor": "s2t",
    "preprocessor_conf": SYMBOLS
    | {"fs": RATE, "speech_length": 0.7, "last_time_symbol": TIMES[-1]},
}
CHANGES |= {"s2t": S2T, "s2t_attention": S2T | {"model_conf": {"ctc_weight": 0.0}}}


BODY = {"block_type": "conformer", "hidden_size": 16, "linear_size": 32, "conv_mod_kernel_size": 3}
TRANSDUCERS = {
    "rnn": {"embed_size": 16, "hidden_size": 16},
    "stateless": {"embed_size": 16},
    # The embedding of the blank is zero: with the default of 1e-12, three norms in a row make a
    # large number of what the Fourier transform of it is rounded by.
    "mega": {"block_size": 16, "linear_size": 16, "qk_size": 8, "v_size": 16, "num_blocks": 1}
    | {"normalization_args": {"eps": 0.1}},
}
CHANGES |= {
    f"{decoder}_asr_transducer": {
        "decoder": decoder,
        "decoder_conf": conf,
        "encoder_conf": {"body_conf": [BODY | {"heads": 2}]},
        "joint_network_conf": {"joint_space_size": 16},
        "model_conf": {},
    }
    for decoder, conf in TRANSDUCERS.items()
}


def task_of(name):
    """The task that builds a family."""
    if "joint_network_conf" in CHANGES[name]:
        return TransducerTask
    return PromptedS2TTask if "preprocessor" in CHANGES[name] else MTLASRTask


def configuration(name):
    """All keys and values of the training of a family."""
    config = {**tiny_config(), "model": "espnet", **CHANGES[name]}
    known = vars(task_of(name).get_parser().parse_args([]))
    return known | {key: value for key, value in config.items() if key in known}


WHISPER = "whisper"
"""The family that has a checkpoint of OpenAI and no `config.yaml`."""
needs_whisper = pytest.mark.skipif(find_spec("whisper") is None, reason="needs openai-whisper")


def random_model(name, folder):
    """Write `config.yaml` and `model.pth` of a family with random weights; returns their paths."""
    if name == WHISPER:
        return (save_whisper(folder / "whisper.pt"),) * 2
    torch.manual_seed(2 if name == "branchformer" else 1)
    config = configuration(name)
    if name == "espnet_ssl":
        upstream = str(_random_hubert(folder)[1])
        config["frontend_conf"] |= {"frontend_conf": {"path_or_url": upstream}}
    return _saved(task_of(name), config, folder)


def loaded(name, *files):
    """The recognizer of a family, of what `random_model` has written."""
    # This front end reads a checkpoint by itself.
    return load_model(*files, ASR_KIND, allow_pickle=name == "espnet_ssl")


def _random_hubert(folder):
    """What ESPnet's task `ssl` leaves behind."""
    folder = folder / "ssl"
    folder.mkdir()
    config = vars(SSLTask.get_parser().parse_args([])) | {
        **{"token_list": [str(i) for i in range(10)], "frontend": "wav2vec_cnn"},
        **{"frontend_conf": CNN, "preencoder": "linear", "preencoder_conf": {"output_size": 16}},
        **_encoder("transformer", **SIZES, input_layer="wav2vec"),
        "loss": [{"name": "hubert", "conf": {"num_classes": 10, "final_dim": 8}}],
        "util": [{"name": "mask", "conf": {}}],
    }
    return _saved(SSLTask, config, folder)


def _saved(task, config, folder):
    model = task.build_model(argparse.Namespace(**copy.deepcopy(config)))
    plain = (type(None), bool, int, float, str, list, dict)
    kept = {key: value for key, value in config.items() if isinstance(value, plain)}
    (folder / "config.yaml").write_text(yaml.safe_dump(kept))
    torch.save(model.state_dict(), folder / "model.pth")
    return folder / "config.yaml", folder / "model.pth"
