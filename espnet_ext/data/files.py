"""Files that are either whole or absent.

Everything the project writes goes through `write_aside`, so that a killed job
never leaves half a file under its final name.
"""

import contextlib
import errno
import hashlib
import io
import json
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from espnet_ext.data.file_sort import file_sort
from espnet_ext.data.locks import aside
from espnet_ext.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Buffer

JSON_WIDTH = 100
"""Longest line of a JSON file, but for a list of numbers or a long string."""
ASIDE = ".aside-"
"""Beginning of the names of files that are being written; their writers have them locked."""
_FORBIDDEN = errno.EACCES, errno.EPERM, errno.EROFS
_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
_FAILED = errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO
MAX_VALUES = 2_000_000
"""Values in a configuration; the longest token lists have a quarter of a million."""

Record = dict[str, Any]
"""Keys and values of a JSON or YAML file, before anything is known of them."""
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
"""How files in UTF-16 begin."""


@contextlib.contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    Args:
        path: the final name. Its parent directories are made.

    Raises:
        InputError: the disk is full, failed, or may not be written to; what stood under `path`
            before is untouched.

    Example:
        >>> with write_aside("exp/results.json") as aside:   # doctest: +SKIP
        ...     aside.write_text("{}")
    """
    path = Path(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path.parent, ASIDE, path.suffix) as new:
            yield new
            # Before the rename: otherwise the file may be empty under its final name after a power
            # cut.
            with new.open("rb") as file:
                os.fsync(file.fileno())
            # There is no way to read the mask other than to set it.
            mask = os.umask(0)
            os.umask(mask)
            new.chmod(0o666 & ~mask)
            new.replace(path)


def check_directory(path: str | Path) -> None:
    """Refuse a directory into which nothing can be written, before there is anything to write.

    Nothing is made: a command that is refused afterwards leaves no trace.

    Args:
        path: it may be there or not.

    Raises:
        InputError: it is a file or lies below one, or may not be written to.
    """
    path = Path(path)
    nearest = next(p for p in (path, *path.absolute().parents) if p.exists() or p.is_symlink())
    if not nearest.is_dir():
        raise InputError(f"{nearest}: is no directory; remove it, or give another output directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"{nearest}: cannot be written to; change its permissions, or give another output "
            "directory"
        )


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of the disk on which `path` is written into messages that say what to do.

    Raises:
        InputError: see `disk_problem`, or something else stands in the way.
    """
    try:
        yield
    except OSError as error:
        if problem := disk_problem(error, path):
            raise InputError(problem) from error
        # A directory where a file should be, or the other way round; not what the block reads.
        at = Path(error.filename or os.devnull)
        if at == path or at in path.parents or at.name.startswith(ASIDE):
            raise InputError(
                f"{path}: cannot be written ({error.strerror}: {at}); remove what stands there, or "
                "choose another place"
            ) from error
        raise


def disk_problem(error: BaseException | None, path: str | Path | None = None) -> str | None:
    """What to say where the disk is full, has failed or may not be written to; None otherwise.

    Args:
        error: of a system call, perhaps by way of a library's own error.
        path: the file that was being written; by default what the error names, which may have
            been read as well.

    Example:
        >>> disk_problem(OSError(errno.EIO, "Input/output error"), "a.json")[:47]
        'a.json: cannot be written (Input/output error);'
    """
    cannot = "cannot be written" if path else "cannot be read or written"
    again = "run the same command again, it continues with what is finished"
    cures = (
        (_FORBIDDEN, cannot, "change the permissions of its directory, or choose another one"),
        (_FULL, "no space left to write it", f"free some space and {again}"),
        (_FAILED, cannot, f"check the disk and its connection, then {again}"),
    )
    # Libraries raise their own errors, with the error of the system as the cause.
    while error is not None:
        for codes, what, cure in cures:
            if isinstance(error, OSError) and error.errno in codes:
                name = path or error.filename2 or error.filename or "a file"
                return f"{name}: {what} ({error.strerror}); {cure}"
        error = error.__cause__ or error.__context__
    return None


class _Remembering(io.FileIO):
    """A file that raises nothing when a write fails, but keeps the error for `write_binary`.

    libsndfile would lose the error, PyTorch and Pillow would hide that the disk is full.
    """

    failed: OSError | None = None

    def write(self, data: "Buffer") -> int:
        """Write all of the data; the first failure is kept for the end."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and not self.failed:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.failed = error
        return len(view)

    def fileno(self) -> int:
        """Refuse: writers must use `write`."""
        raise io.UnsupportedOperation  # else they would write without `write`


def write_binary(path: str | Path, make: Callable[[BinaryIO], object]) -> None:
    """Write what a library puts into a binary file, whole or not at all.

    Args:
        path: the final name.
        make: writes the whole content to the file that it is given.

    Raises:
        InputError: see `write_aside`.

    Example:
        >>> write_binary("a.pth", lambda file: torch.save(state, file))   # doctest: +SKIP
    """
    with write_aside(path) as new, _Remembering(new, "w+") as file:
        try:
            make(file)
        except Exception as error:
            # The library's error only follows from that of the disk.
            raise file.failed or error from None
        if file.failed:
            raise file.failed


def write_figure(
    figure: "Figure",
    path: str | Path,
    dpi: float | Literal["figure"] = "figure",
) -> None:
    """Write a figure of matplotlib in the format that the end of the name says.

    Args:
        figure: the figure.
        path: the final name, .png, .svg or .pdf.
        dpi: dots an inch, "figure" for its own.

    Raises:
        InputError: see `write_aside`.
    """
    sort = Path(path).suffix.removeprefix(".")
    # Without a date an SVG of the same numbers is the same file.
    dated = {"Date": None} if sort == "svg" else {}
    write_binary(path, lambda file: figure.savefig(file, format=sort, dpi=dpi, metadata=dated))


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8) to `path`, whole or not at all."""
    with write_aside(path) as new:
        new.write_text(text, encoding="utf-8")


def write_lines(path: str | Path, lines: Iterable[str]) -> None:
    """Write `lines`, each with a newline added, to `path`."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON; NaN is refused, for other readers do not know it."""
    plain = json.loads(json.dumps(value, allow_nan=False))  # keys are strings, tuples lists
    write_text(path, _layout(plain, 0) + "\n")


def _layout(value: object, indent: int) -> str:
    """JSON in which lists of numbers, and whatever is short, stand on one line."""
    text = json.dumps(value)
    items: list[tuple[str, object]] = []
    if isinstance(value, dict):
        items = [(f"{json.dumps(key)}: ", item) for key, item in value.items()]
    elif isinstance(value, list) and not all(isinstance(item, int | float) for item in value):
        items = [("", item) for item in value]
    if not items or indent + len(text) <= JSON_WIDTH:
        return text
    margin = " " * (indent + 2)
    lines = [margin + start + _layout(item, indent + 2) for start, item in items]
    return f"{text[0]}\n" + ",\n".join(lines) + f"\n{' ' * indent}{text[-1]}"


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: the file is missing or not JSON.
    """
    return _parsed(read_text(path), path)


def read_record(path: str | Path) -> Record:
    """Read a JSON file of keys with values, which a command has written and reads again.

    Raises:
        InputError: the file is missing, damaged, or something else.
    """
    try:
        values = read_json(path)
    except InputError as error:
        raise InputError(f"{error}; remove the file or its directory and run again") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: holds a {type(values).__name__} instead of keys with values; remove the file "
            "or its directory and run again"
        )
    return values


def content_of(record: object) -> object:
    """What decides whether two records are the same: all but the paths of files with a digest.

    Args:
        record: JSON.

    Example:
        >>> content_of({"weights": {"path": "exp/asr/valid.loss.best.pth", "sha256": "0f3a"}})
        {'weights': {'sha256': '0f3a'}}
    """
    if isinstance(record, list):
        return [content_of(value) for value in record]
    if not isinstance(record, dict):
        return record
    named = "path" in record and "sha256" in record
    return {k: content_of(value) for k, value in record.items() if not (named and k == "path")}


def read_yaml(
    path: str | Path, absent: str = "no such configuration", empty: bool = False
) -> Record:
    """Read a YAML file of keys with values, without running anything that is in it.

    Args:
        path: the file.
        absent: what to say where there is none.
        empty: whether it may be empty.

    Raises:
        InputError: the file is missing, is not UTF-8 text or not YAML (names the line), or is
            something else than a mapping.
    """
    import yaml  # here, for the tools that never read a configuration start sooner

    class UniqueKeys(yaml.SafeLoader):
        """Refuses a key that appears twice, of which PyYAML would silently take the last."""

        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, object]:
            """A mapping in which no key appears twice."""
            seen: set[str] = set()
            for key, _ in node.value:
                # `<<` is no key: it merges another mapping in.
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in seen:
                        raise yaml.constructor.ConstructorError(
                            None, None, f"the key {key.value} appears twice", key.start_mark
                        )
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    text = read_text(path, absent)
    # A pointer of Git LFS, or a page: these may even be valid YAML.
    if text and (sort := file_sort(path)).cure:
        raise InputError(f"{path}: not a configuration but {sort.what}; {sort.cure}")
    try:
        values = yaml.load(text, UniqueKeys)  # noqa: S506  a SafeLoader
        _check_expansion(values, path)
    except RecursionError:
        raise InputError(f"{path}: not valid YAML (too many levels)") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        advice = "; indent with spaces, not with tabs" if "\\t" in (error.problem or "") else ""
        raise InputError(f"{where}: not valid YAML ({error.problem}){advice}") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: not valid YAML ({problem})") from error
    if values is None and empty:
        return {}
    if not isinstance(values, dict):
        found = "is empty" if values is None else f"holds a {type(values).__name__}"
        raise InputError(f"{path}: not a configuration: it {found}; expected keys with values")
    return values


def _check_expansion(values: object, path: str | Path) -> None:
    """Refuse aliases (`*a`) that stand for themselves, or for more than memory has."""
    # In PyYAML an alias is the same object again, so a few lines can stand for billions of values.
    left, rest = MAX_VALUES, [values]
    while rest:
        value = rest.pop()
        inner = list(value.values()) if isinstance(value, dict) else value
        if isinstance(inner, list):
            left -= len(inner)
            rest += inner
        if left < 0:
            raise InputError(
                f"{path}: not a configuration: its aliases (*) stand for more than {MAX_VALUES} "
                "values; write them out"
            )


def read_text(
    path: str | Path,
    absent: str = "no such file; has the stage before been run?",
    encoding: str = "utf-8",
) -> str:
    """Read a text file.

    Args:
        path: the file.
        absent: what to say where there is none.
        encoding: "utf-8", or "utf-8-sig" to leave out a byte order mark.

    Raises:
        InputError: the file is missing, is a directory, may not be read, or is not UTF-8; names
            the line, or the sort of file where it is not text at all.
    """
    data = read_bytes(path, absent)
    if data and not data.startswith(WIDE_MARKS) and (sort := file_sort(path)).name != "text":
        raise InputError(f"{path}: not text but {sort.what}" + (f"; {sort.cure}" * bool(sort.cure)))
    return decode(data, path, encoding)


def read_bytes(
    path: str | Path, absent: str = "no such file; has the stage before been run?"
) -> bytes:
    """Read a file.

    Raises:
        InputError: the file is missing (`absent` says what to do), is a directory, or may not be
            read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: {absent}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory; give a file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def decode(data: bytes, path: str | Path, encoding: str = "utf-8") -> str:
    """The text of a file.

    Args:
        data: its content.
        path: the file, for the message.
        encoding: that it must have.

    Raises:
        InputError: it has another one; names the line, and the command that converts it.
    """
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = "utf-16" if data.startswith(WIDE_MARKS) else "cp1252"
        raise InputError(
            f"{path}:{line}: not UTF-8 (byte 0x{data[error.start]:02x}); convert the file, for "
            f"example with 'iconv -f {found} -t utf-8'"
        ) from None


def lines_of(text: str) -> list[str]:
    r"""Lines of a text; only \n ends one, for a sentence may hold other separators.

    Example:
        >>> lines_of("a\n\nb\n"), lines_of("")
        (['a', '', 'b'], [])
    """
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write one JSON object a line."""
    write_lines(path, (json.dumps(row, allow_nan=False) for row in rows))


def read_jsonl(path: str | Path) -> list[Record]:
    """Read a file of one JSON object a line.

    Raises:
        InputError: the file is missing, or a line is not JSON.
    """
    return [_parsed(line, path, n) for n, line in enumerate(lines_of(read_text(path)), 1)]


def _parsed(text: str, path: str | Path, first: int = 1) -> Any:
    """The value of JSON that begins in the `first` line of a file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first + error.lineno - 1
        raise InputError(f"{path}:{line}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise InputError(f"{path}:{first}: not valid JSON (too many levels)") from None
