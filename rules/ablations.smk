"""Stage artifacts, continued: ablations, each a panel and a page, and one page of them all."""


wildcard_constraints:
    ablation="[a-z][a-z0-9_]*",  # `compared` says which there are


rule ablation:
    """One ablation: a panel of ECE and accuracy, a table, and what it shows in three sentences."""
    input:
        predictions=collect("{run}/predictions.parquet", run=ablation_runs),
        metrics=collect("{run}/metrics.json", run=ablation_runs),
        selected=ablation_searches,
    output:
        report(
            "results/{scale}/ablations/{ablation}.svg",
            caption="../report/ablation.rst",
            category="Ablations",
            labels={"ablation": "{ablation}"},
        ),
        multiext(
            "results/{scale}/ablations/{ablation}",
            ".csv",
            ".md",
            ".pdf",
            ".png",
            ".record.json",
        ),
    log:
        "logs/{scale}/ablations/{ablation}.log",
    wildcard_constraints:
        scale=one_of(name for name in SCALES if VARIANT not in name),
    localrule: True
    conda:
        environment("artifacts")
    params:
        entry=ablation_entry,
        posthoc=lambda w: posthoc_of([point["method"] for point in compared(w)]),
        paper=branch(
            lambda w: any("printed" in point for point in compared(w)),
            then=here("config/paper_table1.csv"),
        ),
        code=fingerprint("ablation"),
    shell:
        """
        python -m scripts.artifacts ablation \
            --entry {params.entry:q} \
            --metrics {input.metrics:q} --posthoc {params.posthoc:q} --paper-table {params.paper:q} \
            --output-prefix results/{wildcards.scale}/ablations/{wildcards.ablation} >{log:q} 2>&1
        """


rule ablations_page:
    """All ablations of a scale on one page."""
    input:
        pages=collect("results/{{scale}}/ablations/{name}.md", name=ablations_of),
    output:
        report(
            "results/{scale}/ablations.md",
            caption="../report/ablations.rst",
            category="Ablations",
            labels={"ablation": "all of them"},
        ),
        "results/{scale}/ablations.record.json",
    log:
        "logs/{scale}/ablations.log",
    wildcard_constraints:
        scale=one_of(name for name in SCALES if VARIANT not in name),
    localrule: True
    conda:
        environment("artifacts")
    params:
        code=fingerprint("ablations"),
    shell:
        """
        python -m scripts.artifacts ablations \
            --pages {input.pages:q} \
            --output-prefix results/{wildcards.scale}/ablations >{log:q} 2>&1
        """
