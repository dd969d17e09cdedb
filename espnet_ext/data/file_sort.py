"""What a file is, by its first bytes: for messages about files of the wrong kind."""

import itertools
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

HEAD = 4096
TORCH_LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e"
"""How files of `torch.save` began before they were zip archives: a number as a pickle."""

# First bytes, name, noun phrase.
SIGNATURES = [
    (b"\x1f\x8b", "compressed", "gzip-compressed"),
    (b"BZh", "compressed", "bzip2-compressed"),
    (b"\xfd7zXZ\x00", "compressed", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "other", "zstandard-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "other", "a 7z archive"),
    (b"Rar!", "other", "a RAR archive"),
    (b"\x93NUMPY", "other", "a NumPy array (.npy)"),
    (b"\x89HDF", "other", "an HDF5 file (of Keras or TensorFlow)"),
    (b"GGUF", "other", "a GGUF file (of llama.cpp)"),
    (b"lmgg", "other", "a GGML file (of whisper.cpp)"),
    (b"RIFF", "other", "audio (WAV)"),
    (b"fLaC", "other", "audio (FLAC)"),
    (b"OggS", "other", "audio (OGG)"),
    (b"ID3", "other", "audio (MP3)"),
    (b"\xff\xfb", "other", "audio (MP3)"),
    (b"\x89PNG", "other", "a picture (PNG)"),
    (b"%PDF", "other", "a PDF"),
    (b"\x7fELF", "other", "a program"),
]


class FileSort(NamedTuple):
    """The sort of a file.

    Attributes:
        name: torch (of `torch.save`), pickle (another pickle), zip, tar, compressed, text, or
            other.
        what: a noun phrase for messages.
        cure: what to do about it; None where that depends on what was wanted.
    """

    name: str
    what: str
    cure: str | None = None


def file_sort(path: str | Path) -> FileSort:
    """Look at the first bytes of a file, and at the names in it where it is a zip archive.

    Nothing of it is unpacked or unpickled.

    Example:
        >>> file_sort("weights.pth").what   # doctest: +SKIP
        'a Git LFS pointer'
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return FileSort("other", "an empty file", "copy or download it again")
    if head.startswith(b"PK"):
        return _zip_sort(path)
    for start, name, what in SIGNATURES:
        if head.startswith(start):
            unpack = "decompress it (gunzip, bunzip2 or xz -d)" if name == "compressed" else None
            return FileSort(name, what, unpack)
    # The magic number of a tar header comes after the name of the first file.
    if head[257:262] == b"ustar":
        return FileSort("tar", "a tar archive")
    if head.startswith(TORCH_LEGACY):
        return FileSort("torch", "a file of torch.save")
    # Since protocol 2 every pickle begins with the number of its protocol.
    if head[0] == 0x80 and 2 <= head[1] <= 5:
        return FileSort("pickle", "a pickle that torch.save has not written")
    # A length of eight bytes, then a header of that length in JSON.
    if 8 + int.from_bytes(head[:8], "little") <= path.stat().st_size and head[8:9] == b"{":
        return FileSort(
            "other",
            "a safetensors file",
            "convert it: torch.save(safetensors.torch.load_file(FILE), 'weights.pth')",
        )
    # An ONNX file begins with its version and the name of the program that wrote it.
    if path.suffix == ".onnx" or (head[0] == 0x08 and b"pytorch" in head[:64]):
        return FileSort("other", "an ONNX graph", "give the PyTorch weights that it was made from")
    if b"\x00" in head:
        return FileSort("other", "a file of an unknown binary format")
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("version https://git-lfs"):
        return FileSort(
            "text", "a Git LFS pointer", "fetch the file it stands for with 'git lfs pull'"
        )
    if text[:9].lower() == "<!doctype" or text[:5].lower() == "<html":
        return FileSort(
            "text", "an HTML page, probably of an error or a login", "download the file itself"
        )
    # A few bad bytes mean text in another encoding; many mean that it is not text.
    if text.count("\ufffd") > max(3, len(text) // 10):
        return FileSort("other", "a file of an unknown binary format")
    first = text.split("\n", 1)[0].strip()
    return FileSort("text", f"text, which begins with {json.dumps(first[:40], ensure_ascii=False)}")


def _zip_sort(path: Path) -> FileSort:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return FileSort("other", "a damaged or cut-off zip file", "copy or download it again")
    bases = {name.rsplit("/", 1)[-1] for name in names}
    # torch.jit.save adds constants.pkl to what torch.save writes.
    if {"data.pkl", "constants.pkl"} <= bases:
        return FileSort(
            "other",
            "a TorchScript archive, which holds a program",
            "give the weights (*.pth) that it was made from",
        )
    if "data.pkl" in bases:
        return FileSort("torch", "a file of torch.save")
    if names and all(name.endswith(".npy") for name in names):
        return FileSort("other", "a NumPy archive (.npz)")
    shown = ", ".join(itertools.islice(names, 3)) or "nothing"
    return FileSort("zip", f"a zip archive that holds {shown}" + (", ..." if names[3:] else ""))
