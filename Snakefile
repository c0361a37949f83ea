"""FIRST: teach a reliable large language model through efficient trustworthy distillation.

`snakemake -c2` builds every artifact of the scale that config/config.yaml names (tiny: CPU,
offline, minutes). A file target names its own scale. See README.md.
"""

from snakemake.logging import logger
from snakemake.utils import min_version

from first_distill.config.load import load, own_files, with_variants
from first_distill.errors import UserError
from first_distill.runtime.failures import FailedJobs

min_version("9.25")

# Not by `configfile:`, which looks below --directory, takes the last of two equal keys and leaves
# numbers of a nested --config as text. `config` has the content of --configfile and --config here.
try:
    files = [*own_files(), *workflow.overwrite_configfiles]
    content = with_variants(load(files, overrides=config))
except UserError as error:
    exit(f"error: {error}")
config.clear()
config.update(content)


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/runs.smk"


# Jobs run in the image with `--sdm apptainer` only (envs/README.md); its path has no whitespace.
if "apptainer" in map(str, workflow.deployment_settings.deployment_method):

    container: here("envs/first.sif")


include: "rules/data.smk"
include: "rules/models.smk"
include: "rules/teacher.smk"
include: "rules/knowledge.smk"
include: "rules/temperature.smk"
include: "rules/student.smk"
include: "rules/evaluation.smk"
include: "rules/figures.smk"
include: "rules/artifacts.smk"
include: "rules/ablations.smk"
include: "rules/cards.smk"


# The logger `first` (profiles/default) tells each failure when it happens; for others:
failed_jobs = FailedJobs()
if not any(handler.writes_to_stream for handler in workflow.logger_manager.get_log_handlers()):
    logger.addHandler(failed_jobs)


onerror:
    failed_jobs.report()


rule cards:
    """The model card of every student behind the artifacts of the configured scale."""
    input:
        expand(
            "results/{scale}/student/{run}/README.md",
            scale=config["scale"],
            run=students_of(config["scale"]),
        ),
    localrule: True


rule all:
    """Every table, figure and claim of the configured scale, and its students' model cards."""
    default_target: True
    input:
        expand("results/{scale}/{name}", scale=config["scale"], name=ARTIFACTS),
        rules.cards.input,
    localrule: True


rule table1:
    """Table 1 of the configured scale."""
    input:
        expand("results/{scale}/tables/table1.csv", scale=config["scale"]),
    localrule: True


rule figures:
    """Figures 2, 3, 5, 6 and of meters of the configured scale."""
    input:
        expand(
            "results/{scale}/figures/{name}.pdf",
            scale=config["scale"],
            name=FIGURE_NAMES,
        ),
    localrule: True


rule ablations:
    """Every ablation of the configured scale, on one page."""
    input:
        expand("results/{scale}/ablations.md", scale=config["scale"]),
    localrule: True


rule claims:
    """The verdict on each of the paper's claims at the configured scale."""
    input:
        expand("results/{scale}/claims.json", scale=config["scale"]),
    localrule: True
