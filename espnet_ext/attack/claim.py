"""Which attack the results in an output directory belong to: attack.json, written once."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_ext.data.attack_log import LOG, RECORD, Row
from espnet_ext.data.files import content_of, read_record, write_json
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    from espnet_ext.attack.utterances import Utterance

AUDIO = "utt2sha256"
MADE = ("log/**/*.jsonl", "state/**/*.pt", LOG)


class Claim:
    """The identity of an attack, as its output directory records it.

    The directory gets `attack.json`, the identity, and `utt2sha256`, the digest of each
    utterance's samples, by which a message names those that have changed.

    Args:
        directory: of the attack.
        identity: everything that decides the results; JSON, a digest of all audio in it.
        utterances: what is attacked.
        measured: function that gives further keys of attack.json, called once, when it is written.

    Raises:
        InputError: the directory holds results of another attack, or results without attack.json.

    Example:
        >>> claim = Claim(output_dir, {"settings": {}}, utterances)      # doctest: +SKIP
        >>> claim.check()["settings"]                                    # doctest: +SKIP
    """

    def __init__(
        self,
        directory: Path,
        identity: Mapping[str, object],
        utterances: "Sequence[Utterance]",
        measured: Callable[[], Mapping[str, object]] = dict,
    ):
        self.directory = directory
        self.identity = json.loads(json.dumps(identity))  # tuples become the lists that are read
        self._audio = {u.name: u.audio for u in utterances if u.audio}
        # A run that was refused, or died before its first state, has left nothing to protect.
        record = directory / RECORD
        ours = False
        with contextlib.suppress(InputError):  # none, or damaged, and nothing was made with it
            ours = not self._changed(read_record(record))
        if begun(directory) or ours:
            self.check()
            return
        if self._audio:
            write_table(directory / AUDIO, self._audio)
        # Written last: an attack that is killed before has claimed nothing.
        write_json(record, {**self.identity, **measured()})

    def check(self) -> Row:
        """Read attack.json, which must exist and must still be that of this attack.

        Raises:
            InputError: it is missing, damaged, or of another attack; says what is different.
        """
        path = self.directory / RECORD
        if not path.exists():
            raise InputError(
                f"{path}: missing, so nothing says which attack made the logs and states in "
                f"{self.directory}; put it back, or remove the directory or give another "
                "--output_dir to attack again"
            )
        before = read_record(path)
        changed = self._changed(before)
        if not changed:
            return before
        audio: dict[str, str] = {}
        # Without the table, the message below names the keys that differ.
        with contextlib.suppress(InputError):
            audio = read_table(self.directory / AUDIO)
        # Only utterances that both attacks have: others change the list, not the audio.
        replaced = [n for n, digest in self._audio.items() if audio.get(n, digest) != digest]
        if replaced:
            shown = ", ".join(replaced[:5]) + (", ..." if len(replaced) > 5 else "")
            raise InputError(
                f"{self.directory} holds the results of another attack: the audio of "
                f"{len(replaced)} utterances has changed since it began ({shown}); put the former "
                "audio back to go on, or give another --output_dir or remove this one to attack "
                "what is there now"
            )
        earlier = "" if (self.directory / AUDIO).is_file() else " (perhaps of an earlier version)"
        raise InputError(
            f"{self.directory} holds the results of another attack{earlier} (different: "
            f"{', '.join(changed)}; see attack.json); give another --output_dir or remove it"
        )

    def _changed(self, before: Mapping[str, object]) -> list[str]:
        """Keys by which a record is that of another attack; the place of the model is not one."""
        return [
            key
            for key, value in self.identity.items()
            if content_of(before.get(key)) != content_of(value)
        ]


def begun(directory: str | Path) -> bool:
    """Whether an attack has left states or rows in a directory."""
    return any(any(Path(directory).glob(pattern)) for pattern in MADE)
