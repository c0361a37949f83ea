"""Pickled weights to safetensors: a program of its own that conversion.py runs, `python -I`.

Its argument is a JSON list of [pickle, name of the new file]; it writes to the working directory.
Where it refuses: exit status 3 and on standard output {file, reason or errno, advice} as JSON.

What protects: `weights_only` makes tensors and plain containers alone, whatever the pickle asks
for, and only a flat mapping of names to tensors is accepted. The audit hook is a second wall:
nothing that Python does is to import, run, connect or write once a pickle is opened.
"""

import json
import os
import re
import sys
import tarfile
import warnings
import zipfile
from collections import OrderedDict

import torch
from safetensors.torch import save_file

REFUSED = 3
ACTIONS = ("import", "exec", "compile", "marshal.", "pickle.", "ctypes.", "os.", "shutil.", "pty.")
ACTIONS += ("subprocess.", "socket.", "urllib.", "http.", "ftplib.", "smtplib.", "webbrowser.")
SAVE_AGAIN = "torch.load it with weights_only=True, torch.save it, and use that from a mirror"
COMPARE = "it is cut or no weights: compare its size and sha256 with its publisher's"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def guard(event: str, arguments: tuple) -> None:
    """Audit hook: refuse what no conversion does; safetensors does not write through Python."""
    writes = event == "open" and (arguments[2] or 0) & WRITING
    if writes or event.startswith(ACTIONS):
        raise PermissionError(f"it tried to {event}")


def state_dict(path: str) -> dict[str, torch.Tensor]:
    """The tensors of a pickle, mapped into memory; ValueError for anything else in it."""
    with open(path, "rb") as stream:
        start = stream.read(1)
        if not zipfile.is_zipfile(stream):
            older = start == b"\x80" or tarfile.is_tarfile(path)
            advice = SAVE_AGAIN if older else COMPARE
            raise ValueError("not a zip archive, the form of torch.save since 1.6", advice)
        entries = zipfile.ZipFile(stream).infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            # Mapped into memory, the entries are read as they are stored.
            raise ValueError("a compressed archive, not as torch.save writes it", SAVE_AGAIN)
    found = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    if type(found) not in (dict, OrderedDict):
        raise ValueError(f"it is of type {type(found).__name__}, not tensors by name")
    if not found:
        raise ValueError("it is empty")
    for name, value in found.items():
        if type(name) is not str:
            raise ValueError(f"a name is of type {type(name).__name__}")
        if type(value) not in (torch.Tensor, torch.nn.Parameter):
            raise ValueError(f"{ascii(name)[:80]} is of type {type(value).__name__}, not a tensor")
        plain = value.layout == torch.strided and value.device.type == "cpu"
        plain = plain and not (
            value.is_quantized or value.is_nested or value.is_conj() or value.is_neg()
        )
        if not plain or value.nbytes > value.untyped_storage().nbytes():
            raise ValueError(f"{ascii(name)[:80]} is no plain tensor")
    return found


def convert(source: str, target: str) -> None:
    """Write the tensors of a pickle to a new file, to the bit; what shares memory is cloned."""
    tensors, taken = {}, set()
    for name, value in state_dict(source).items():
        place = value.untyped_storage().data_ptr()
        tensors[name] = value.detach().contiguous()
        if place in taken and tensors[name].untyped_storage().data_ptr() == place:
            tensors[name] = tensors[name].clone()
        taken.add(place)
    save_file(tensors, target, metadata={"format": "pt"})


def reason_of(error: Exception) -> str:
    """What is wrong with a file, without control characters."""
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {ascii(named[1][:80])}"
    if unknown := re.search(r"Unsupported operand \d+", str(error)):
        return unknown[0]
    lines = str(error.args[0] if error.args else "").strip().splitlines() or ["damaged"]
    kind = "" if isinstance(error, ValueError | PermissionError) else f"{type(error).__name__}: "
    return "".join(c for c in f"{kind}{lines[0][:200]}" if c.isprintable())


def refuse(**answer) -> None:
    """Say what is wrong, and end."""
    print(json.dumps(answer))
    sys.exit(REFUSED)


def main() -> None:
    """Convert one file after the other; another process holds the parent's number once it ended."""
    warnings.simplefilter("ignore")
    # What a conversion imports, a first one has imported before the hook is set.
    torch.save({"x": torch.zeros(2, dtype=torch.bfloat16)}, "first.bin")
    convert("first.bin", "first.safetensors")
    os.remove("first.bin")
    os.remove("first.safetensors")
    b"x".decode("cp437")  # zipfile's, of names in archives that torch did not write
    parent = os.getppid()
    sys.addaudithook(guard)
    for source, target in json.loads(sys.argv[1]):
        if os.getppid() != parent:
            refuse(reason="the command that started this has ended")
        try:
            convert(source, target)
        except Exception as error:
            rust = re.search(r"\(os error (\d+)\)", str(error))
            number = int(rust[1]) if rust else getattr(error, "errno", None)
            if number:
                refuse(errno=number, file=source)
            advice = [text for text in (SAVE_AGAIN, COMPARE) if text in error.args]
            more = {"advice": advice[0]} if advice else {}
            refuse(reason=reason_of(error), file=source, **more)


if __name__ == "__main__":
    main()
