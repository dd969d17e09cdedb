"""ESPnet's task of transducers alone (asr_transducer)."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
from unittest import mock

import torch
from espnet2.asr_transducer.beam_search_transducer import BeamSearchTransducer, Hypothesis
from espnet2.asr_transducer.decoder.abs_decoder import AbsDecoder
from espnet2.asr_transducer.espnet_transducer_model import ESPnetASRTransducerModel
from espnet2.asr_transducer.joint_network import JointNetwork
from espnet2.tasks import asr_transducer
from espnet2.tasks.asr_transducer import ASRTransducerTask

from espnet_ext.asr.recognizer import SpeechRecognizer
from espnet_ext.data.configurations import Config
from espnet_ext.errors import InputError
from espnet_ext.tasks.building import ModelKind
from espnet_ext.tasks.configuration import CarefulTask, check_configuration
from espnet_ext.tasks.recognizer import ASR_KIND, open_recognizer


class BoundedSearch(BeamSearchTransducer):
    """ESPnet's searches, bounded so that they always end.

    Its default one stays in a frame for as long as some token is likelier than the blank, which an
    attacked or a random model can make for ever. So a beam of 1 takes at most one token in each
    frame, as in the task `asr`; wider ones take at most two (mAES).

    Args:
        decoder: the prediction network.
        joint_network: joint network of the same model.
        beam_size: number of hypotheses.
    """

    def __init__(self, decoder: AbsDecoder, joint_network: JointNetwork, beam_size: int):
        beam = min(beam_size, decoder.vocab_size - 2)  # that mAES can expand
        super().__init__(decoder, joint_network, beam, search_type="maes")
        if beam_size == 1:
            self.search_algorithm = self.greedy_search

    def greedy_search(self, enc_out: torch.Tensor) -> list[Hypothesis]:
        """The hypothesis of encoder output (T, D)."""
        ids, state = [0], self.decoder.init_state(1)  # the blank, as in ESPnet's searches
        out, after = self.decoder.score(ids, state)
        for frame in enc_out:
            best = int(self.joint_network(frame.unsqueeze(0), out).argmax())
            if best != 0:
                ids.append(best)
                out, after = self.decoder.score(ids, after)  # the same after a blank
        return [Hypothesis(score=0.0, yseq=ids, dec_state=after)]


class TransducerModel(ESPnetASRTransducerModel):
    """A transducer with the names that the models of ESPnet's `asr` task have for its parts.

    Its auxiliary heads serve the training only: ESPnet never decodes with them.
    """

    use_transducer_decoder = True
    search_class = BoundedSearch
    ctc = lang_token_id = preencoder = None
    ctc_weight = 0.0
    blank_id = 0

    @property
    def eos(self) -> int:
        """Id of <sos/eos>."""
        return int(self.vocab_size) - 1

    sos = eos


class TransducerTask(CarefulTask, ASRTransducerTask):
    """Builds the models of ESPnet's task."""

    further_classes: ClassVar[dict[str, type]] = {
        "model": ESPnetASRTransducerModel,
        "joint_network": JointNetwork,
    }

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> TransducerModel:
        """Build the model of a configuration.

        Raises:
            InputError: an unknown key in a `*_conf`.
        """
        check_configuration(cls, args)
        # This task of ESPnet names its class in the code: it has no table of models to register in.
        with mock.patch.object(asr_transducer, "ESPnetASRTransducerModel", TransducerModel):
            return super().build_model(args)


def open_transducer(config: Config, path: Path) -> Callable[[torch.nn.Module], SpeechRecognizer]:
    """See `ModelKind.open`."""
    if config["decoder"] == "rwkv":
        raise InputError(
            f"{path}: decoder: rwkv is not supported, ESPnet compiles it for GPUs; rnn, stateless "
            "and mega are"
        )
    return open_recognizer(config, path)


TRANSDUCER_KIND = ModelKind(
    name="asr_transducer",
    title="a transducer (asr_transducer)",
    task=TransducerTask,
    needed=("token_list", "encoder_conf", "decoder"),
    open=open_transducer,
    own=("joint_network_conf",),
    earlier={**ASR_KIND.earlier, "encoder": None, "decoder_conf": {}},
)
