"""A small front end with conda's command line, over the solver and installer of py-rattler.

For tests on machines without conda. It answers the few calls that Snakemake 9 makes, and makes real
environments: solved by rattler from a channel folder, linked by rattler, then `pip install` of the
pip section as conda does it. The channel `conda-forge` is a folder with two packages made from the
running interpreter, python and pip. It shows that an environment file is read, solved, installed,
activated and used; it does not show that the real channel holds what the file names.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

import yaml
from rattler import MatchSpec, Subdir, VirtualPackage, install, solve
from rattler.index import index_fs
from rattler.shell import ActivationVariables, Shell, activate

VERSION = "24.7.1"  # the oldest that Snakemake accepts
PLATFORM = str(Subdir.current())
STATE = "conda-meta/state"  # where conda keeps an environment's variables
LIBRARY = "lib/python{}.{}".format(*sys.version_info)
UNUSED = {"site-packages", "dist-packages", "test", "idlelib", "tkinter", "lib2to3", "__pycache__"}


def set_up(base: Path) -> Path:
    """Make base/bin/{conda,activate} and the channel; return the folder to put on PATH."""
    commands = base / "bin"
    commands.mkdir(parents=True)
    _script(commands / "conda", f'exec "{sys.executable}" "{__file__}" "{base}" "$@"')
    _script(commands / "activate", f'eval "$("{commands}/conda" shell.activate "$1")"')
    folder = base / "channels/conda-forge" / PLATFORM
    folder.mkdir(parents=True)
    version = "{}.{}.{}".format(*sys.version_info)
    with tempfile.TemporaryDirectory() as staged:
        _pack(folder, "python", version, _interpreter(), [])
        wheel, number = _pip(Path(staged))
        _pack(folder, "pip", number, wheel, ["python >=3.9"])
    asyncio.run(index_fs(folder.parent))
    return commands


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/bash\n{line}\n")
    path.chmod(0o755)


def _interpreter() -> dict[str, Path]:
    """{path in a package: file} of the running interpreter and its standard library."""
    executable = Path(sys._base_executable).resolve()
    files = {f"bin/{name}": executable for name in ("python", "python3")}
    library = Path(sysconfig.get_path("stdlib"))
    for folder, names, found in os.walk(library):
        names[:] = [name for name in names if name not in UNUSED]
        inside = Path(LIBRARY, Path(folder).relative_to(library))
        files |= {str(inside / name): Path(folder, name) for name in found if name[-2:] != ".a"}
    return files


def _pip(folder: Path) -> tuple[dict[str, Path], str]:
    """{path in a package: file} of the pip that comes with Python, and its version."""
    (wheel,) = (Path(sysconfig.get_path("stdlib")) / "ensurepip/_bundled").glob("pip-*.whl")
    zipfile.ZipFile(wheel).extractall(folder)
    found = [path for path in folder.rglob("*") if path.is_file()]
    inside = {f"{LIBRARY}/site-packages/{p.relative_to(folder)}": p for p in found}
    return inside, wheel.name.split("-")[1]


def _pack(folder: Path, name: str, version: str, files: dict[str, Path], depends: list) -> None:
    """Write one conda package."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends}
    index |= {"subdir": PLATFORM, "timestamp": 1}
    entries = [{"_path": p, "path_type": "hardlink"} for p in files]
    with tempfile.TemporaryDirectory() as meta:
        for part, content in (("index", index), ("paths", {"paths": entries, "paths_version": 1})):
            Path(meta, part).write_text(json.dumps(content))
            files = files | {f"info/{part}.json": Path(meta, part)}
        with tarfile.open(folder / f"{name}-{version}-0.tar.bz2", "w:bz2", compresslevel=1) as tar:
            for path, source in files.items():
                tar.add(source.resolve(), path)


async def _create(base: Path, file: Path, prefix: Path) -> None:
    """`conda env create`: solve and install the conda packages, then the pip section."""
    content = yaml.safe_load(file.read_text())
    pip = [r for part in content["dependencies"] if isinstance(part, dict) for r in part["pip"]]
    specs = [MatchSpec(s, strict=True) for s in content["dependencies"] if isinstance(s, str)]
    channels = [c for c in content["channels"] if c != "nodefaults"]
    records = await solve(
        [(base / "channels" / channel).as_uri() for channel in channels],
        specs,
        virtual_packages=VirtualPackage.detect(),
    )
    await install(records, prefix, cache_dir=base / "cache", show_progress=False)
    Path(prefix, STATE).write_text(json.dumps({"env_vars": content.get("variables", {})}))
    with tempfile.NamedTemporaryFile("w", suffix=".txt", dir=file.parent) as listed:
        listed.write("\n".join(pip))
        listed.flush()
        command = [prefix / "bin/python", "-m", "pip", "install", "--quiet", "-U", "-r"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        subprocess.run([*command, listed.name, "--exists-action=b"], check=True, env=environment)


def main(base: Path, *words: str) -> None:
    """Answer one call."""
    option = {a.split("=")[0]: b for a, b in zip(words, words[1:], strict=False)}
    match words:
        case ("info", "--json"):
            print(json.dumps({"conda_prefix": str(base), "platform": PLATFORM}))
        case ("--version",):
            print("conda", VERSION)
        case ("config", "--get", "channel_priority", "--json"):
            print(json.dumps({"get": {"channel_priority": "strict"}}))
        case ("env", "create", *_):
            asyncio.run(_create(base, Path(option["--file"]), Path(option["--prefix"])))
        case ("clean", *_):
            pass
        case ("shell.activate", prefix):
            print(activate(Path(prefix), ActivationVariables(), Shell.bash).script)
        case _:
            sys.exit(f"conda: not answered here: {' '.join(words)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
