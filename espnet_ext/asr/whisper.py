"""Whisper's transcripts and greedy search, as openai-whisper has them.

The package openai-whisper is needed for its vocabulary and its normalisation of text.
"""

from collections.abc import Iterable

import torch
from espnet2.asr.decoder.whisper_decoder import OpenAIWhisperDecoder
from espnet2.asr.espnet_model import ESPnetASRModel

from espnet_ext.asr.text import TextEncoder
from espnet_ext.errors import InputError

TOKEN_TYPES = ("whisper_en", "whisper_multilingual")
LONGEST = 224
"""Largest number of tokens in a transcript, that of openai-whisper's `DecodingTask`."""


class WhisperText(TextEncoder):
    """Transcripts of Whisper as token ids; texts are compared as Whisper's authors compare them.

    Radford et al. (2022), appendix C: lower case, no punctuation, numbers as digits, and for
    English one spelling, no hesitations.

    Args:
        token_type: "whisper_en" or "whisper_multilingual".
        language: language of the speech, e.g. "en".
        task: "transcribe" or "translate".
        languages: number of languages of a multilingual vocabulary.

    Raises:
        InputError: there is no such language.
    """

    def __init__(
        self,
        token_type: str = TOKEN_TYPES[0],
        language: str = "en",
        task: str = "transcribe",
        languages: int = 99,
    ):
        # Imported here, because only Whisper's models need openai-whisper.
        from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer
        from whisper.tokenizer import get_tokenizer

        multilingual = token_type == "whisper_multilingual"
        try:
            self.whisper = get_tokenizer(
                multilingual, num_languages=languages, language=language, task=task
            )
        except ValueError as error:
            raise InputError(f"Whisper: {error}") from None
        english = not multilingual or task == "translate" or language in ("en", "english")
        self._normal = EnglishTextNormalizer() if english else BasicTextNormalizer()

    @property
    def prompt(self) -> tuple[int, ...]:
        """What the decoder is given after <sos>: language, task, and to write no timestamps."""
        return tuple(self.whisper.sot_sequence_including_notimestamps[1:])

    @property
    def barred(self) -> list[int]:
        """Tokens that greedy search never takes.

        As `DecodingOptions(without_timestamps=True, suppress_blank=False)` of openai-whisper. With
        `suppress_blank`, its default, no transcript would be empty, and silence never reached.
        """
        own = self.whisper
        never = {own.transcribe, own.translate, own.sot, own.sot_prev, own.sot_lm, own.no_speech}
        return sorted(never | {*own.non_speech_tokens})

    def normal(self, text: str) -> str:
        """See `TextEncoder.normal`."""
        return " ".join(str(self._normal(text)).split())

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with a space in front, as Whisper's transcripts begin.

        Raises:
            InputError: the normalisation leaves no word of it.
        """
        if not self.normal(text):
            raise InputError(f"'{text}': no word; a transcript must not be empty")
        return list(self.whisper.encode(f" {text.strip()}"))

    def unknown(self, text: str) -> list[str]:
        """Nothing: the vocabulary can spell every text."""
        return []

    def check_phonemes(self) -> None:
        """Do nothing: there are none."""

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, normalised; timestamps and other special tokens are left out."""
        # Whisper numbers its special tokens from the end of text upwards.
        words = [i for i in ids if i < self.whisper.eot]
        return self.normal(self.whisper.encoding.decode(words))


def is_whisper(model: ESPnetASRModel) -> bool:
    """Whether a model writes with Whisper's decoder."""
    return isinstance(model.decoder, OpenAIWhisperDecoder)


class WhisperScorer:
    """Scores of the next token of each utterance; keys and values are computed once.

    Args:
        decoder: ESPnet's Whisper decoder.
        encoder_out: (B, T, D).
    """

    def __init__(self, decoder: OpenAIWhisperDecoder, encoder_out: torch.Tensor):
        self.decoder, self.encoder_out = decoder, encoder_out
        self.cache: dict[torch.nn.Module, torch.Tensor] = {}

    def score(self, ys: torch.Tensor) -> torch.Tensor:
        """Log score (B, V) of each next token after the prefixes `ys` (B, L)."""
        # With a cache only the newest token is passed on: Whisper takes its position from the
        # length of what is cached.
        given = ys[:, -1:] if self.cache else ys
        # Hooks of one pass: other users of the decoder must not write into this cache.
        handles = [
            layer.register_forward_hook(self._remember)
            for block in self.decoder.decoders.blocks
            for attention in (block.attn, block.cross_attn)
            for layer in (attention.key, attention.value)
        ]
        try:
            logits = self.decoder.decoders(given, self.encoder_out, kv_cache=self.cache)
        finally:
            for handle in handles:
                handle.remove()
        return logits[:, -1].log_softmax(dim=-1)

    def _remember(
        self, layer: torch.nn.Module, _inputs: tuple[torch.Tensor], output: torch.Tensor
    ) -> torch.Tensor:
        # Whisper asks a cross-attention's layers once, the others for the newest tokens.
        before = self.cache.get(layer)
        self.cache[layer] = output if before is None else torch.cat([before, output], dim=1)
        return self.cache[layer]
