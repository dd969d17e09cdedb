"""Models small enough for tests, built through the task as a recipe builds them."""

import torch
import yaml
from espnet2.text.word_tokenizer import WordTokenizer

from espnet_ext.asr.decode import greedy_search_encoded
from espnet_ext.asr.losses import encode
from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.asr.text import TextEncoder
from espnet_ext.tasks.mtl_asr import MTLASRTask

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TOKENS = ["<blank>", "<unk>", *WORDS, "<sos/eos>"]
RATE = 8000

ENCODERS = {
    "conformer": {"rel_pos_type": "latest", "cnn_module_kernel": 7},
    "transformer": {},
    "e_branchformer": {
        "rel_pos_type": "latest",
        "attention_layer_type": "rel_selfattn",
        "pos_enc_layer_type": "rel_pos",
        "cgmlp_linear_units": 32,
        "cgmlp_conv_kernel": 7,
        "merge_conv_kernel": 7,
    },
}


def tiny_config(encoder="conformer", encoder_conf=None, normalize_conf=None, **model_conf):
    """The configuration of a tiny model, as keys and values of a training YAML."""
    sizes = {"output_size": 16, "attention_heads": 2, "linear_units": 32, "num_blocks": 2}
    if encoder not in ENCODERS:
        sizes = {"output_size": 16}
    extra = ENCODERS[encoder] if encoder_conf is None else encoder_conf
    return {
        "token_list": TOKENS,
        "token_type": "word",
        "frontend_conf": {"fs": RATE, "n_fft": 256, "hop_length": 80, "n_mels": 20},
        "normalize": "utterance_mvn",
        "normalize_conf": normalize_conf or {},
        "encoder": encoder,
        "encoder_conf": {**sizes, **extra},
        "decoder": "transformer",
        "decoder_conf": {"attention_heads": 2, "linear_units": 32, "num_blocks": 1},
        "model_conf": {"ctc_weight": 0.5, "lsm_weight": 0.1, **model_conf},
    }


def task_arguments(config):
    """The arguments that `config` gives on the command line of the task."""
    arguments = MTLASRTask.get_parser().parse_args([])
    for key, value in config.items():
        setattr(arguments, key, value)
    return arguments


def tiny_model(seed=1, **options):
    """A model with random weights in which nothing is at its initial value."""
    torch.manual_seed(seed)
    model = MTLASRTask.build_model(task_arguments(tiny_config(**options)))
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    return model


def tiny_recognizer(**options):
    """A tiny model with its text and sample rate."""
    model = tiny_model(**options).eval()
    return SpeechRecognizer(model, TextEncoder(WordTokenizer(), TOKENS), RATE, {})


def save_model(model, config, directory):
    """Write `config.yaml` and `model.pth` as ESPnet leaves them behind."""
    directory.mkdir(parents=True, exist_ok=True)
    arguments = {**vars(task_arguments(config)), "token_list": config["token_list"]}
    arguments = {k: v for k, v in arguments.items() if _is_plain(v)}
    (directory / "config.yaml").write_text(yaml.safe_dump(arguments))
    torch.save(model.state_dict(), directory / "model.pth")
    return directory / "config.yaml", directory / "model.pth"


def _is_plain(value):
    return value is None or isinstance(value, (bool, int, float, str, list, dict))


def noise(*lengths, seed=0, level=0.1):
    """Waveforms of white noise with these numbers of samples."""
    generator = torch.Generator().manual_seed(seed)
    return [(level * torch.randn(n, generator=generator)).numpy() for n in lengths]


def greedy_search(model, speech, lengths, ctc_weight):
    """Token ids that a model writes of a padded batch (B, T)."""
    return greedy_search_encoded(model, *encode(model, speech, lengths), ctc_weight)
