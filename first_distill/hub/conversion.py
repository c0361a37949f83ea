"""Weights that exist only as pickles, converted to safetensors once, in the user's cache.

A folder of the cache is named by the hashes of what it was made from, so that it serves the Hub and
mirrors alike. It appears under its name when it is complete. `unpickle.py` reads the pickles, in a
process without the user's environment and, where the system allows it, without network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from first_distill.errors import UserError, writing
from first_distill.files import (
    describe_files,
    read_sealed,
    scratch_folder,
    write_json,
    write_sealed,
)
from first_distill.hub.fetch import assets
from first_distill.hub.weights import INDEX, PICKLE_INDEX, WEIGHTS, is_pickle, weight_map
from first_distill.runtime.progress import progress

PROGRAM, REFUSED = Path(__file__).with_name("unpickle.py"), 3  # its exit status
NOTE = "conversion.json"  # of a converted folder: the hashes of its files
KEPT = ("LD_LIBRARY_PATH",)  # where Python's own libraries may lie
MB = 10**6


def convert(root: Path, record: dict) -> dict:
    """The record of a model whose pickles lie in `root`, with `files` as they are after conversion.

    `converted_from` holds what `files` had on the pickles and their index. Converts nothing if that
    was done before and is unaltered. Raises UserError where a pickle is no bare state dict.
    """
    from huggingface_hub.utils import WeakFileLock

    pickles = {name: file for name, file in record["files"].items() if is_pickle(name)}
    others = {name: file for name, file in record["files"].items() if name not in pickles}
    record = {**record, "files": others, "converted_from": pickles}
    folder = converted_folder(record)
    with writing(folder), WeakFileLock(folder.with_suffix(".lock")):
        if (files := _finished(folder)) is None:
            files = _make(root, folder, record)
    return {**record, "files": files}


def converted_folder(record: dict) -> Path:
    """Where the files of a converted model lie, or are to lie."""
    files = {n: f for n, f in record["files"].items() if not n.endswith((".safetensors", INDEX))}
    hashes = {n: f["sha256"] for n, f in (files | record["converted_from"]).items()}
    name = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    return assets("converted", record["repo"]) / name


def _finished(folder: Path) -> dict | None:
    """{name: {bytes, sha256}} of the files of a converted folder; None if it is not as it was."""
    if not (folder / NOTE).is_file():
        return None
    files = (read_sealed(folder / NOTE) or {}).get("files")
    whole = files and all((folder / name).is_file() for name in files)
    return files if whole and describe_files(folder, [*files]) == files else None


def isolated() -> list[str]:
    """What starts a command without network, not even loopback; [] where the system has no way."""
    prefix = [shutil.which("unshare") or "unshare", "--map-root-user", "--net", "--"]
    try:
        allowed = (
            subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
        )
    except OSError:
        allowed = False
    return prefix if allowed else []


def _make(root: Path, folder: Path, record: dict) -> dict:
    """Convert to a scratch folder, shard by shard, and give it its name."""
    what, sizes = f"model {record['repo']}", record["converted_from"]
    shards = sorted(name for name in sizes if name != PICKLE_INDEX)
    count = len(shards)
    names = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    new = dict(zip(shards, names if count > 1 else [WEIGHTS], strict=True))
    with scratch_folder(folder) as scratch:
        _run(what, root, scratch, new, sum(sizes[name]["bytes"] for name in shards))
        for name in record["files"]:
            shutil.copyfile(root / name, scratch / name)
        for name in new.values():  # safetensors writes with mode 0600
            (scratch / name).chmod((scratch / "config.json").stat().st_mode)
        old = weight_map(what, root / PICKLE_INDEX) if PICKLE_INDEX in sizes else {}
        _write_index(what, old, scratch, new)
        files = describe_files(scratch, sorted(path.name for path in scratch.iterdir()))
        write_sealed(scratch / NOTE, {"files": files})
        shutil.rmtree(folder, ignore_errors=True)  # it was altered
        scratch.rename(folder)
    return files


def _run(what: str, root: Path, scratch: Path, new: dict[str, str], size: int) -> None:
    """Run `unpickle.py` on {pickle: new name}, of `size` bytes in all."""
    prefix = isolated()
    if not prefix:
        print(f"no network namespace here: {what} is converted without one", file=sys.stderr)
    jobs = json.dumps([[str((root / old).absolute()), name] for old, name in new.items()])
    child = subprocess.Popen(
        [*prefix, sys.executable, "-I", "-B", str(PROGRAM), jobs],
        cwd=scratch,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with progress(f"conversion of {what}", size // MB, "MB") as advance:
            shown, output = 0, None
            while output is None:
                try:
                    output, errors = child.communicate(timeout=1)
                except subprocess.TimeoutExpired:
                    found = _written(scratch) // MB
                    advance(found - shown)
                    shown = found
    finally:
        child.kill()  # where this process is interrupted
        child.wait()
    if child.returncode == REFUSED:
        answer = json.loads(output)
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]), answer["file"])
        name = Path(answer["file"]).name
        reason, advice = answer["reason"], answer.get("advice", "use a model of plain tensors")
        raise UserError(
            f"no bare state dict: {what}: {name}: {reason}: nothing of it ran: {advice}"
        )
    if child.returncode:
        reason = (errors.strip().splitlines() or [""])[-1]
        if child.returncode < 0:
            reason = (
                f"killed by signal {-child.returncode}; it needs memory for one file of weights"
            )
        raise UserError(f"conversion failed: {what}: {reason}: run it again")


def _written(folder: Path) -> int:
    """Bytes of the files in a folder, of which one may just get its name."""
    size = 0
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _write_index(what: str, expected: dict[str, str], scratch: Path, new: dict[str, str]) -> None:
    """Compare {pickle: new file} with {tensor: pickle}; write an index of several new files."""
    from huggingface_hub import parse_local_safetensors_file_metadata

    places, size = {}, 0
    for old, name in new.items():
        for tensor, info in parse_local_safetensors_file_metadata(scratch / name).tensors.items():
            if tensor in places:
                reason = f"{ascii(tensor)[:80]} is also in {old}"
                raise UserError(f"tensor twice: {what}: {reason}: use another model")
            places[tensor] = name
            size += info.data_offsets[1] - info.data_offsets[0]
    for tensor, old in expected.items():
        if places.get(tensor) != new.get(old):
            reason = f"{ascii(tensor)[:80]} is not in {old}, where {PICKLE_INDEX} has it"
            raise UserError(f"missing tensor: {what}: {reason}: use a complete model")
    if len(new) > 1:
        content = {"metadata": {"total_size": size}, "weight_map": places}
        write_json(scratch / INDEX, content)
