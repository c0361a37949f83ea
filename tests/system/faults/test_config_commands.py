"""A wrong or hostile configuration before Snakemake's eyes: `snakemake -n` and real jobs."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.system.faults import WHOLE, tried
from tests.system.faults.small import small_copy
from tests.system.workflow.copies import ROOT, output, snakemake

DRY = ("-n", "-c1", "--quiet", "host", "rules")
HOSTILE = "a b$(touch CANARY);touch CANARY|'\"`touch CANARY`&\\"  # what a folder may be called


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small copy whose folder has a hostile name."""
    return small_copy(tmp_path_factory.mktemp("config") / HOSTILE)


def edited(folder, name, edit, *words):
    """snakemake in the copy while one of its files is another; then that is as it was."""
    path = folder / name
    before = path.read_bytes()
    try:
        path.write_bytes(edit(before))
        return snakemake(folder, *words)
    finally:
        path.write_bytes(before)


def refused(process, said: str) -> str:
    """The one line that the user sees; no traceback."""
    assert process.returncode not in (0, None) and process.returncode > 0, output(process)
    lines = output(process).strip().splitlines()
    assert said in lines[-1] and lines[-1].startswith("error: config: "), output(process)[-3000:]
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert not re.search(r'Traceback|^  File "', output(process), re.MULTILINE), output(process)
    return lines[-1]


PYTHON = b'\n__use_yte__: true\nx: ?open("CANARY", "w").write("x")\n'
WRONG = {  # an edit of config/config.yaml, or a value of --config: what the user reads
    "Python in YAML": (lambda t: t + PYTHON, "unknown key"),
    "scales={tiny: }": "scales.tiny: '': Input should be a valid dictionary",
    "key twice": (lambda t: t + b"\nscale: smoke\n", "key 'scale' occurs twice"),
    "shell as a method": (lambda t: t.replace(b"  distill:", b"  $(touch CANARY):"), "methods"),
    "Python tag": (lambda t: t + b"\nx: !!python/object/apply:os.abort []\n", "config.yaml"),
    "scale=": "scale: None: Input should be a valid string",
    "scale=$(touch CANARY)": "scale: '$(touch CANARY)': String should match",
    "methods={first_ts: {c: 2}}": "methods.first_ts.c: '2': Input should be less",
    "scales={'../x': {}}": "name '../x'",
    "pathvars={results: ../x}": "unknown key 'pathvars'",
}


@pytest.mark.parametrize("name", WRONG if WHOLE else list(WRONG)[:2])
def test_wrong_configuration(small, name):
    if isinstance(WRONG[name], str):
        line = refused(snakemake(small, *DRY, "--config", name), WRONG[name])
    else:
        edit, said = WRONG[name]
        line = refused(edited(small, "config/config.yaml", edit, *DRY), said)
    assert not list(small.rglob("CANARY*"))
    tried(f"snakemake -n, config: {name}", 1, 1, 0, line)


def test_from_another_folder_with_nested_overrides(small, tmp_path):
    """The configuration is found beside the Snakefile; numbers and booleans become options."""
    words = ("-n", "-c1", "-p", "--directory", tmp_path / "else where")
    bos, training = "families: {alder: {bos: never}}", "training: {gradient_checkpointing: true}"
    scales = f"scales={{tiny: {{{bos}, student: {{{training}}}}}}}"
    nested = ("methods={first_ts: {c: 0.5}}", scales, "data={mirror: }")
    target = "results/tiny/student/alder/csqa/first_ts/seed1234/record.json"
    process = snakemake(small, *words, "--config", *nested, "--", target)
    assert process.returncode == 0, output(process)[-3000:]
    assert re.search(r"--c 0\.5 .*--gradient-checkpointing", output(process), re.DOTALL)
    commands = re.split(r"python -m", output(process))
    reading = [c for c in commands if re.search(r"scripts\.(teacher|knowledge|student) ", c)]
    assert len(reading) == 3 and all("--bos never" in command for command in reading)


@pytest.mark.slow
def test_a_scale_of_ones_own(small, tmp_path):
    """One dataset: as config/scales/mine.yaml and with --configfile, for snakemake and the plan."""
    content = yaml.safe_load((small / "config/scales/tiny.yaml").read_text())["scales"]["tiny"]
    content["settings"] = {"in_domain": {"boolq": "boolq"}}
    for name, folder in (("mine", small / "config/scales"), ("yours", tmp_path)):
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"scales": {name: content}}))
        given = ["--configfile", path] if name == "yours" else []
        process = snakemake(small, *DRY, *given, "--config", f"scale={name}")
        assert process.returncode == 0, output(process)[-3000:]
        assert "claims_files" in output(process)
        words = [sys.executable, "-m", "scripts.plan", *given, "--scale", name]
        process = subprocess.run(words, cwd=small, check=False, capture_output=True, text=True)
        # The plan needs the model that is pretrained here: it has read the scale by then.
        assert f"scale {name}: run snakemake -c2 results/{name}/models/" in output(process)
    path = small / "config/scales/mine.yaml"
    path.unlink()
    refused(snakemake(small, *DRY, "--config", "scale=mine"), "'mine' is not in")


def test_hostile_names_reach_no_shell_unquoted(small):
    """All values that may be hostile: mirrors, a file of questions, columns, templates, the clone.

    Every command of the run is read with the shell's own grammar, every path lies in its folder.
    """
    questions, description = f"config/{HOSTILE}.json", HOSTILE + "\n"
    (small / questions).write_text("[]")
    text = "{# \n" + HOSTILE + " {x} #}{{ question }}"
    prompt = {"candidates": "lower", "text": text, "response": "{{ answer }}"}

    def edit(text: bytes) -> bytes:
        config = yaml.safe_load(text)
        config["scales"]["tiny"]["figures"]["table2_questions"] = questions
        config["scales"]["tiny"]["description"] = description
        config["datasets"] = {"csqa": {"where": {HOSTILE: [HOSTILE]}, "prompt": prompt}}
        return yaml.safe_dump(config, allow_unicode=True, sort_keys=False).encode()

    mirror = json.dumps({"mirror": HOSTILE})
    words = ("-n", "-c1", "-p", "--config", f"data={mirror}", f"models={mirror}")
    process = edited(small, "config/scales/tiny.yaml", edit, *words)
    assert process.returncode == 0, output(process)[-3000:]
    text = output(process)
    commands = re.findall(r"^Shell command: *\n?((?:.*\n)+?)(?=\n|\[)", text, re.MULTILINE)
    commands = commands or re.findall(r"^ +(python -m scripts(?:.*\n)+?)\s*\n", text, re.MULTILINE)
    assert len(commands) >= 40, text[:3000]
    found = entries = 0
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)
        parsed = shlex.split(command)
        found += questions in parsed
        for before, word in zip(["", *parsed], parsed, strict=False):
            if before == "--entry" and "CANARY" in word:
                entry, entries = json.loads(word), entries + 1
                assert (entry["where"], entry["prompt"]) == ({HOSTILE: [HOSTILE]}, prompt)
            else:
                assert "CANARY" not in word or word in (questions, description), (word, command)
    assert found == 1, "the questions are one word of one command"
    assert entries == 1, "an entry is one word of one command"
    paths = re.findall(r"^    (?:output|log|benchmark): (.+)$", text, re.MULTILINE)
    assert len(paths) > 90
    for path in ", ".join(paths).split(", "):
        assert re.fullmatch(r"(results|logs|benchmarks)(/[A-Za-z0-9._-]+)+( \(send .*\))?", path)
        assert ".." not in path.split("/")
    assert not list(small.parent.rglob("CANARY*"))
    tried("config: shell metacharacters, dry run", len(commands), len(commands), 0, "quoted")


def test_hostile_names_run(small):
    """A real job in a clone of that name, with a mirror of that name; nothing else runs."""
    mirror = json.dumps({"mirror": HOSTILE})
    target = "results/tiny/data/csqa/report.json"
    process = snakemake(small, "-c1", "--config", f"data={mirror}", "--", target)
    assert process.returncode == 0, output(process)[-3000:]
    assert (small / target).is_file()
    assert not list(small.parent.rglob("CANARY*"))
    tried("config: shell metacharacters, real job", 1, 1, 0, "the job's result")


def test_every_word_of_every_rule_is_quoted():
    """All but wildcards, numbers and choices, which the models hold to digits and plain words."""
    numbers = {"k", "bins", "max_tokens", "split_seed", "validation_share"}
    choices = {"source", "corpus", "benchmark", "launch"}  # a variable of ours, and two numbers
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for command in re.findall(r'shell:\s+"""(.*?)"""', path.read_text(), re.DOTALL):
            plain = set(re.findall(r"\{(?!wildcards\.)([a-z_.\[\]0-9]+)\}", command))
            assert plain <= {f"params.{name}" for name in numbers | choices}, (path, plain)
            assert re.search(r">\{log:q\} 2>&1\s*$", command), path
