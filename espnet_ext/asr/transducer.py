"""Transducers: the loss of each utterance, and ESPnet's searches.

ESPnet takes the loss from warp-transducer, which has to be compiled; torchaudio has the same one
(Graves 2012, "Sequence Transduction with Recurrent Neural Networks").
"""

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.asr.transducer.beam_search_transducer import BeamSearchTransducer
from torchaudio.functional import rnnt_loss


class RNNTLoss(torch.nn.Module):
    """Replaces the class of warp-transducer with which ESPnet builds its transducers.

    Args:
        blank: id of the blank.
        reduction: "mean", "sum" or "none", over the utterances.
        fastemit_lambda: unused; ESPnet's `asr` task gives 0.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", fastemit_lambda: float = 0.0):
        super().__init__()
        self.blank, self.reduction = blank, reduction

    def forward(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        logit_lengths: torch.Tensor,
        label_lengths: torch.Tensor,
    ) -> torch.Tensor:
        """Negative log likelihood of labels.

        Args:
            logits: (B, T, L + 1, V) of the joint network; T and L are the largest lengths.
            labels: (B, L).
            logit_lengths: (B,) frames.
            label_lengths: (B,).
        """
        # torchaudio accepts only 32-bit integers and contiguous logits.
        sizes = (labels.int(), logit_lengths.int(), label_lengths.int())
        return rnnt_loss(
            logits.float().contiguous(), *sizes, blank=self.blank, reduction=self.reduction
        )


def is_transducer(model: ESPnetASRModel) -> bool:
    """Whether the decoder of a model is the prediction network of a transducer."""
    return bool(getattr(model, "use_transducer_decoder", False))


def transducer_losses(
    model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    """The transducer loss of each utterance, as ESPnet computes it for the utterance alone.

    Args:
        model: in evaluation mode.
        encoder_out: (B, T, D).
        lengths: (B,) frames.
        ids: (B, L + 1), a blank and the token ids of the transcript, padded with blanks.

    Returns:
        (B,).
    """
    # ESPnet's prediction network makes its first state on the device where it was built.
    model.decoder.set_device(encoder_out.device)
    # (B, T, 1, D) and (B, 1, L + 1, D): the joint network scores every frame with every prefix.
    logits = model.joint_network(encoder_out.unsqueeze(2), model.decoder(ids).unsqueeze(1))
    labels = ids[:, 1:]
    loss = RNNTLoss(model.blank_id, reduction="none")
    return loss(logits, labels, lengths, (labels != model.blank_id).sum(dim=1))


def transducer_search(
    model: ESPnetASRModel, encoder_out: torch.Tensor, lengths: torch.Tensor, beam_size: int
) -> list[list[int]]:
    """Token ids of each utterance, by the search of `espnet2.bin.asr_inference`.

    With a beam of 1 that is greedy: at most one token in each frame. Models of the task
    `asr_transducer` bring a search of their own, see `espnet_ext.tasks.asr_transducer`.

    Args:
        model: in evaluation mode.
        encoder_out: (B, T, D).
        lengths: (B,) frames.
        beam_size: number of hypotheses.
    """
    search_class = getattr(model, "search_class", BeamSearchTransducer)
    search = search_class(model.decoder, model.joint_network, beam_size)
    with torch.no_grad():
        rows = zip(encoder_out, lengths.tolist(), strict=True)
        best = [search(row[:length])[0].yseq for row, length in rows]
    # Every hypothesis of ESPnet begins with a blank in the place of <sos>.
    return [[int(i) for i in ids if i != model.blank_id] for ids in best]
