"""Nothing is dropped or merged in silence."""

from pathlib import Path

import pytest

from espnet_ext.data.characters import CharacterRules
from espnet_ext.data.check import validate
from espnet_ext.data.directory import is_leftover, kind_of
from espnet_ext.data.format import FormatOptions, format_directory
from espnet_ext.data.kaldi import read_table, write_table
from espnet_ext.data.operations import combine, copy, fix, split_directory, subset
from espnet_ext.errors import InputError

LEFTOVERS = [
    "text.bak",
    "utt2spk.old",
    "text~",
    "utt2spk~",
    "#text#",
    "#utt2spk#",
    "text.orig",
    "utt2spk.swp",
    "wav.scp.save",
    "text.bak2",
    "utt2spk.bak.1",
    "text.BAK",
    "wav.bak.scp",
    "utt2label.gz",
    "utt2spk.20240131",
    "text_old",
    "utt2spk-backup",
    "text.tmp",
    "utt2accent.rej",
    "text.~1~",
    "._text",
    ".text.swp",
]
TABLES = [
    "text",
    "text.prev",
    "text.ctc",
    "text_spk1",
    "text.2",
    "utt2age",
    "utt2whatever",
    "spk2old",
    "wav.scp",
]


def whole(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture
def spoofs(corpus: Path) -> Path:
    """Two bona fide utterances, two spoofs; only the spoofs have an attack."""
    labels = {"a-1": "bonafide", "a-2": "spoof", "b-1": "bonafide", "c-1": "spoof"}
    write_table(corpus / "utt2label", labels)
    write_table(corpus / "utt2attack", {"a-2": "A01", "c-1": "A02"})
    return corpus


@pytest.mark.parametrize("name", [*LEFTOVERS, "utt2spk (copy)", "utt2spk 2", "wav (1).scp"])
def test_a_backup_is_no_table_and_is_left_alone(corpus, tmp_path, caplog, name):
    (corpus / name).write_text("a-1 x\n")
    before = whole(corpus)
    validate(corpus)
    assert fix(corpus) == (4, 0) and whole(corpus) == before
    copy(corpus, tmp_path / "new")
    subset(corpus, tmp_path / "part", ["a-1"])
    combine(tmp_path / "all", [corpus])
    split_directory(corpus, 2)
    for made in ("new", "part", "all"):
        assert not (tmp_path / made / name).exists()
    assert name in caplog.text or name.startswith(".")


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_no_backups(name):
    assert kind_of(name) is not None and not is_leftover(name)


def test_spoofs_alone_have_an_attack(spoofs, tmp_path):
    validate(spoofs)
    before = whole(spoofs)
    assert fix(spoofs) == (4, 0) and whole(spoofs) == before
    copy(spoofs, tmp_path / "new", utt_prefix="x-")
    subset(spoofs, tmp_path / "clean", ["a-1", "b-1"])
    assert (tmp_path / "clean" / "utt2attack").read_bytes() == b""
    combine(tmp_path / "all", [tmp_path / "new", tmp_path / "clean"])
    split_directory(spoofs, 2)
    format_directory(spoofs, tmp_path / "dump", FormatOptions(sample_rate=8000))
    for made in (tmp_path / "new", tmp_path / "clean", tmp_path / "all", tmp_path / "dump"):
        validate(made)
    assert len(read_table(tmp_path / "all" / "utt2attack")) == 2
    (tmp_path / "clean" / "utt2attack").unlink()
    combine(tmp_path / "all", [tmp_path / "new", tmp_path / "clean"])
    assert read_table(tmp_path / "all" / "utt2attack") == {"x-a-2": "A01", "x-c-1": "A02"}


def test_a_spoof_without_an_attack_is_named(spoofs):
    write_table(spoofs / "utt2attack", {"a-2": "A01"})
    with pytest.raises(InputError, match="1 in utt2spk and not in utt2attack: c-1"):
        validate(spoofs)


def long(corpus: Path, lacking: "list[int]", labels: "dict[int, str] | None" = None) -> Path:
    """Forty utterances, some of which have no text."""
    names = [f"u{number:02}" for number in range(40)]
    for path in corpus.iterdir():
        path.unlink()
    write_table(corpus / "utt2spk", dict.fromkeys(names, "s"))
    write_table(
        corpus / "utt2accent", {u: (labels or {}).get(i, "us") for i, u in enumerate(names)}
    )
    write_table(corpus / "text", {u: "x" for i, u in enumerate(names) if i not in lacking})
    return corpus


def test_up_to_a_tenth_is_dropped_and_said(corpus, caplog):
    assert fix(long(corpus, [3, 4, 5, 6])) == (36, 4)
    assert "4 of 40 utterances (u03, u04, u05, ...)" in caplog.text
    assert "not in text: 4" in caplog.text


@pytest.mark.parametrize(
    ("lacking", "labels", "expected"),
    [
        ([3, 4, 5, 6, 7], {}, "5 of 40 utterances"),
        ([3], {3: "gb"}, r"1 of 40 utterances \(u03\).*every utterance with utt2accent 'gb' \(1\)"),
    ],
)
def test_a_class_or_more_than_a_tenth_is_kept(corpus, lacking, labels, expected):
    before = whole(long(corpus, lacking, labels))
    with pytest.raises(InputError, match=f"(?s){expected}.*text.*--partial.*--allow_loss true"):
        fix(corpus)
    assert whole(corpus) == before
    assert fix(corpus, allow_loss=True) == (40 - len(lacking), len(lacking))
    validate(corpus, wav=False)


def test_a_table_of_the_whole_corpus_does_not_vanish(corpus):
    """The transcripts of all sets beside the speakers of one: a slip as often as a wish."""
    write_table(
        corpus / "text", {f"{u}{i}": "x" for u in read_table(corpus / "utt2spk") for i in ("", 1)}
    )
    with pytest.raises(InputError, match="not in utt2spk: 4"):
        fix(corpus)


def test_the_format_stage_keeps_classes_too(spoofs, tmp_path):
    short = FormatOptions(sample_rate=8000, min_seconds=0.6, allow_loss=False)
    with pytest.raises(InputError, match=r"2 of 4 utterances.*(.|\n)*--allow_loss true"):
        format_directory(spoofs, tmp_path / "dump", short)
    assert not (tmp_path / "dump" / "wav.scp").exists()


LINES = ["a-1 x", "a-2 x y", "b-1 x", "c-1 x"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
@pytest.mark.parametrize("table", ["text", "utt2accent", "wav.scp"])
def test_line_ends_of_other_systems_lose_nothing(corpus, end, table):
    before = (corpus / table).read_bytes()
    (corpus / table).write_bytes(before.replace(b"\n", end.encode()))
    if table != "wav.scp" or end == "\r":
        with pytest.raises(InputError, match=f"{table}:1: .*(Windows line end|carriage return)"):
            validate(corpus)
    assert fix(corpus) == (4, 0)
    assert (corpus / table).read_bytes() == before
    validate(corpus)


@pytest.mark.parametrize(
    "bad", ["\0", "\u200b", "\xad", "\ufeff", "\x07", "\u202e", "\u2028", "\x85", "\xa0"]
)
@pytest.mark.parametrize("where", ["id", "transcript", "label"])
def test_what_cannot_be_seen_is_refused_with_its_place(corpus, bad, where):
    table = corpus / ("utt2accent" if where == "label" else "text")
    lines = table.read_text(encoding="utf-8").split("\n")
    column = 2 if where == "id" else 5
    lines[1] = lines[1][: column - 1] + bad + lines[1][column - 1 :]
    table.write_bytes("\n".join(lines).encode())
    before = whole(corpus)
    for command in (validate, fix):
        with pytest.raises(InputError, match=rf":2: U\+{ord(bad):04X} [A-Z -]+ at column {column}"):
            command(corpus)
    assert whole(corpus) == before


def test_a_mark_at_the_start_of_a_file_is_removed_by_fix(corpus):
    before = (corpus / "text").read_bytes()
    (corpus / "text").write_bytes(b"\xef\xbb\xbf" + before)
    with pytest.raises(InputError, match="text:1: starts with a byte order mark"):
        validate(corpus)
    assert fix(corpus) == (4, 0) and (corpus / "text").read_bytes() == before


def test_paths_may_have_any_character(corpus, tmp_path):
    odd = tmp_path / "Screen\u202fshot.flac"
    odd.write_bytes(Path(read_table(corpus / "wav.scp")["a-1"]).read_bytes())
    write_table(corpus / "wav.scp", {**read_table(corpus / "wav.scp"), "a-1": str(odd)})
    validate(corpus)
    format_directory(corpus, tmp_path / "dump", FormatOptions(sample_rate=8000))


def test_one_word_in_two_forms_is_refused_or_normalised(corpus):
    write_table(corpus / "text", {"a-1": "caf\xe9", "a-2": "cafe\u0301", "b-1": "x", "c-1": "x"})
    for command in (validate, fix):
        with pytest.raises(InputError, match=r"text 'a-2': .*0301.*text 'a-1'.*--normalize NFC"):
            command(corpus)
    fix(corpus, rules=CharacterRules(normalize="NFC"))
    assert set(read_table(corpus / "text").values()) == {"caf\xe9", "x"}
    validate(corpus)


def test_an_id_in_two_forms_is_one_after_normalising(corpus):
    for name in ("wav.scp", "utt2spk", "text", "utt2accent", "utt2whatever", "spk2utt"):
        form = "e\u0301-1" if name == "text" else "\xe9-1"
        (corpus / name).write_text((corpus / name).read_text().replace("a-1", form))
    with pytest.raises(InputError, match="looks like the word in"):
        fix(corpus)
    assert fix(corpus, rules=CharacterRules(normalize="NFC")) == (4, 0)
    validate(corpus, wav=False)
