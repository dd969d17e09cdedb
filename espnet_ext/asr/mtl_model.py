"""Multi-task ASR: CTC, attention decoder and utterance classification heads on one encoder."""

import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable

from espnet_ext.asr.ctc_entropy import alignment_entropy
from espnet_ext.asr.heads import IGNORED, UtteranceClassifier, classification_loss
from espnet_ext.data.configurations import Config

Stats = dict[str, torch.Tensor | None]


class ESPnetMTLASRModel(ESPnetASRModel):
    """Hybrid CTC/attention ASR with any number of utterance classification heads.

    The loss is that of Das and Chau (2022), eq. (1) and (3):

        L_ASR = ctc_weight * L_CTC + (1 - ctc_weight) * L_DEC
        L_MTL = asr_weight * L_ASR + (1 - asr_weight) * L_DIS

    with `ctc_weight` for lambda_C and `asr_weight` for lambda_A of training. With
    one head, L_DIS is its cross-entropy; with several it is their weighted mean.
    What a weight leaves out is not built: no head at `asr_weight` 1, no decoder
    at `ctc_weight` 1, no CTC at `ctc_weight` 0.

    With `ctc_entropy_weight` above 0, L_CTC is that of EnCTC (Liu, Jin and Zhang 2018), less peaky:

        L_CTC - ctc_entropy_weight * H(alignments | target, speech)

    Args:
        heads: for each head, the names of its classes, e.g. `{"accent": ["us", "gb"]}`.
        asr_weight: lambda_A, between 0 and 1.
        head_weights: relative weight of each head in L_DIS; 1 where not given.
        head_conf: arguments of `UtteranceClassifier`.
        ctc_entropy_weight: beta of EnCTC, 0 for plain CTC; has no effect without a CTC head.
        **asr: everything that `espnet2.asr.espnet_model.ESPnetASRModel` takes,
            `ctc_weight` among them.

    Raises:
        ValueError: a weight is outside its range, or a weight for a head that is not there.
    """

    def __init__(
        self,
        *,
        heads: dict[str, list[str]] | None = None,
        asr_weight: float = 1.0,
        head_weights: dict[str, float] | None = None,
        head_conf: Config | None = None,
        ctc_entropy_weight: float = 0.0,
        **asr: object,
    ):
        super().__init__(**asr)
        if not 0.0 <= asr_weight <= 1.0:
            raise ValueError(f"asr_weight (lambda_A) must be between 0 and 1, not {asr_weight}")
        # A head that no loss trains would answer at random, so it is not built.
        names = list(heads or {}) if asr_weight < 1.0 else []
        if asr_weight < 1.0 and not names:
            raise ValueError(f"asr_weight {asr_weight} leaves a part of the loss to no head")
        if not ctc_entropy_weight >= 0.0:
            raise ValueError(
                f"ctc_entropy_weight must not be negative, but is {ctc_entropy_weight}"
            )
        unknown = set(head_weights or {}) - set(heads or {})
        if unknown:
            raise ValueError(f"head_weights names heads that are not there: {sorted(unknown)}")
        self.asr_weight = asr_weight
        self.ctc_entropy_weight = ctc_entropy_weight
        self.head_weights = {name: (head_weights or {}).get(name, 1.0) for name in names}
        self.heads = torch.nn.ModuleDict(
            {
                name: UtteranceClassifier(
                    self.encoder.output_size(), (heads or {})[name], **(head_conf or {})
                )
                for name in names
            }
        )

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **kwargs: torch.Tensor,
    ) -> tuple[torch.Tensor, Stats, torch.Tensor]:
        """Loss of a batch.

        Args:
            speech: waveforms (B, T).
            speech_lengths: (B,).
            text: token ids (B, L), padded with -1.
            text_lengths: (B,).
            **kwargs: for each head, its labels (B, 1) under its name; -1 does not count.

        Returns:
            loss, statistics of the batch, batch size.

        Raises:
            ValueError: the labels of a head are missing.
        """
        # As ESPnet's `forward`: under data parallelism a part of the batch still has the padding of
        # all. ESPnet pads text with -1, but its losses ignore `ignore_id`, which is an option.
        text = text[:, : text_lengths.max()]
        text = text.masked_fill(text == -1, self.ignore_id)
        encoder_out, encoder_out_lens = self.encode(speech, speech_lengths)
        loss, stats = self.asr_loss(encoder_out, encoder_out_lens, text, text_lengths)
        if self.heads:
            head_loss, head_stats = self.head_loss(encoder_out, encoder_out_lens, kwargs)
            loss = self.asr_weight * loss + (1.0 - self.asr_weight) * head_loss
            stats.update(head_stats)
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, speech.size(0)), loss.device)

    def asr_loss(
        self,
        encoder_out: torch.Tensor,
        encoder_out_lens: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
    ) -> tuple[torch.Tensor, Stats]:
        """L_ASR, eq. (1)."""
        stats: Stats = {}
        loss = encoder_out.new_zeros(())
        if self.ctc is not None:
            loss_ctc, stats["cer_ctc"] = self._calc_ctc_loss(
                encoder_out, encoder_out_lens, text, text_lengths
            )
            stats["loss_ctc"] = loss_ctc.detach()
            # In validation it is reported for plain CTC too, so that models can be compared.
            if self.ctc_entropy_weight > 0.0 or not self.training:
                # H, the mean over the utterances of the batch, as ESPnet averages CTC.
                # `IMPOSSIBLE` would be minus infinity in half precision, in which ESPnet trains
                # with use_amp.
                log_probs = self.ctc.log_softmax(encoder_out).float()
                each = alignment_entropy(log_probs, encoder_out_lens, text, text_lengths)
                entropy = each.mean()
                stats["ctc_entropy"] = entropy.detach()
                if self.ctc_entropy_weight > 0.0:
                    # Not before `loss_ctc` is reported: its statistics stay comparable with plain
                    # CTC.
                    loss_ctc = loss_ctc - self.ctc_entropy_weight * entropy
            loss = loss + self.ctc_weight * loss_ctc
        if self.decoder is not None:
            loss_att, stats["acc"], stats["cer"], stats["wer"] = self._calc_att_loss(
                encoder_out, encoder_out_lens, text, text_lengths
            )
            stats["loss_att"] = loss_att.detach()
            loss = loss + (1.0 - self.ctc_weight) * loss_att
        return loss, stats

    def head_loss(
        self,
        encoder_out: torch.Tensor,
        encoder_out_lens: torch.Tensor,
        batch: dict[str, torch.Tensor],
    ) -> tuple[torch.Tensor, Stats]:
        """L_DIS: the weighted mean over the heads of their cross-entropies."""
        stats: Stats = {}
        total = encoder_out.new_zeros(())
        for name, head in self.heads.items():
            if name not in batch:
                raise ValueError(
                    f"the batch has no labels for the head '{name}'; give them with "
                    f"--train_data_path_and_name_and_type utt2{name},{name},text"
                )
            labels = batch[name].reshape(-1).to(encoder_out.device)
            logits = head(encoder_out, encoder_out_lens)
            loss = classification_loss(logits, labels)
            total = total + self.head_weights[name] * loss
            stats[f"loss_{name}"] = loss.detach()
            known = labels != IGNORED  # where none is known, the share is nan
            right = (logits.argmax(-1) == labels) & known
            stats[f"acc_{name}"] = right.sum() / known.sum().float()
        return total / sum(self.head_weights.values()), stats

    def classify(
        self, encoder_out: torch.Tensor, encoder_out_lens: torch.Tensor
    ) -> dict[str, list[str]]:
        """The most likely label of each utterance, for each head.

        Args:
            encoder_out: (B, T, D).
            encoder_out_lens: (B,).
        """
        return {
            name: [head.labels[i] for i in head(encoder_out, encoder_out_lens).argmax(-1).tolist()]
            for name, head in self.heads.items()
        }
