"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5, 6, the claims, the data report."""

cell_runs = lambda w: models_of(w, [w.method], [corpus_of(w)], [w.family])
table1_runs = lambda w: models_of(
    w, config["table1"]["methods"], [corpus for _, _, corpus in COLUMNS[w.scale]]
)
# With `finetune`, to which the others are compared; untuned models have no validation split.
trained_runs = lambda w: models_of(
    w,
    [
        name
        for name in [*config["table1"]["methods"], "finetune"]
        if name not in of_objective("none")
    ],
    [corpus for _, _, corpus in COLUMNS[w.scale]],
)


# (benchmark, corpus) of the columns whose models are trained on another dataset.
foreign_pairs = lambda w: list(dict.fromkeys((b, c) for _, b, c in COLUMNS[w.scale] if b != c))


rule table1_cell:
    """One cell of Table 1: ECE, accuracy and trust over seeds, with intervals."""
    input:
        predictions=collect("results/{{scale}}/evaluation/{run}/predictions.parquet", run=cell_runs),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=cell_runs),
        selected=branch(
            lambda w: METHODS[w.method].get("c") == "selected",
            then=lambda w: f"results/{w.scale}/temperature/"
            f"{searched(w.family, corpus_of(w), w.method)}/selected.json",
        ),
    output:
        report(
            "results/{scale}/tables/table1/cells/{family}/{method}/{setting}-{benchmark}.json",
            caption="../report/cell.rst",
            category="Cells of Table 1",
            labels={
                "family": "{family}",
                "method": "{method}",
                "column": "{setting}-{benchmark}",
            },
        ),
    log:
        "logs/{scale}/tables/table1/cells/{family}/{method}/{setting}-{benchmark}.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        corpus=corpus_of,
        c=branch(
            lambda w: METHODS[w.method].get("c") not in (None, "selected"),
            then=lambda w: str(METHODS[w.method]["c"]),
        ),
        posthoc=lambda w: posthoc_of([w.method]),
        paper=branch(lambda w: w.scale == "paper", then=here("config/paper_table1.csv")),
        code=fingerprint("cell"),
    shell:
        """
        python -m scripts.artifacts cell \
            --metrics {input.metrics:q} \
            --scale {wildcards.scale} --family {wildcards.family} --method {wildcards.method} \
            --setting {wildcards.setting} --benchmark {wildcards.benchmark} \
            --corpus {params.corpus} --posthoc {params.posthoc:q} \
            --c {input.selected:q} {params.c:q} --paper-table {params.paper:q} \
            --output {output:q} >{log:q} 2>&1
        """


rule table1_files:
    """Table 1 in the paper's layout, from its cells."""
    input:
        cells=collect(
            "results/{{scale}}/tables/table1/cells/{family}/{method}/{column}.json",
            family=lambda w: scale_of(w)["families"],
            method=config["table1"]["methods"],
            column=lambda w: [f"{setting}-{b}" for setting, b, _ in COLUMNS[w.scale]],
        ),
    output:
        report(
            "results/{scale}/tables/table1.csv",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "Table 1"},
        ),
        multiext("results/{scale}/tables/table1", ".md", ".tex", ".record.json"),
    log:
        "logs/{scale}/tables/table1.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        description=lambda w: scale_of(w)["description"],
        code=fingerprint("table1"),
    shell:
        """
        python -m scripts.artifacts table1 \
            --cells {input.cells:q} --description {params.description:q} \
            --output-prefix results/{wildcards.scale}/tables/table1 >{log:q} 2>&1
        """


rule posthoc:
    """Every trained method with a post-hoc temperature: what does distillation add to that?"""
    input:
        predictions=collect(
            "results/{{scale}}/evaluation/{run}/predictions.parquet", run=trained_runs
        ),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=trained_runs),
    output:
        report(
            "results/{scale}/tables/posthoc.csv",
            caption="../report/posthoc.rst",
            category="Tables",
            labels={"table": "Post-hoc temperatures"},
        ),
        multiext("results/{scale}/tables/posthoc", ".md", ".record.json"),
    log:
        "logs/{scale}/tables/posthoc.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        code=fingerprint("posthoc"),
    shell:
        """
        python -m scripts.artifacts posthoc \
            --metrics {input.metrics:q} \
            --output-prefix results/{wildcards.scale}/tables/posthoc >{log:q} 2>&1
        """


rule table2:
    """Cases in which the fine-tuned student is confidently wrong, and other methods' answers."""
    input:
        predictions=collect(
            "results/{{scale}}/evaluation/{run}/predictions.parquet", run=table2_runs
        ),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=table2_runs),
        questions=collect("results/{{scale}}/data/{dataset}/test.parquet", dataset=shown_benchmark),
        first=lambda w: scale_of(w)["figures"].get("table2_questions") or [],
    output:
        report(
            "results/{scale}/tables/table2.csv",
            caption="../report/table2.rst",
            category="Tables",
            labels={"table": "Table 2"},
        ),
        multiext("results/{scale}/tables/table2", ".md", ".tex", ".record.json"),
    log:
        "logs/{scale}/tables/table2.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        benchmark=shown_benchmark,
        code=fingerprint("table2"),
    shell:
        """
        python -m scripts.artifacts table2 \
            --metrics {input.metrics:q} \
            --benchmark {params.benchmark} \
            --questions {input.questions:q} --first-questions {input.first:q} \
            --output-prefix results/{wildcards.scale}/tables/table2 >{log:q} 2>&1
        """


rule claims_files:
    """A verdict on each claim of the paper, favourable or not."""
    input:
        table1="results/{scale}/tables/table1.csv",
        predictions=collect(
            "results/{{scale}}/evaluation/{run}/predictions.parquet", run=table1_runs
        ),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=table1_runs),
        selected=collect("results/{{scale}}/temperature/{of}/selected.json", of=teachers_of),
        coarse=collect("results/{{scale}}/temperature/{of}/coarse.csv", of=teachers_of),
        refined=collect("results/{{scale}}/temperature/{of}/refined.csv", of=teachers_of),
        figure2="results/{scale}/figures/figure2.csv",
        figure3="results/{scale}/figures/figure3.csv",
    output:
        report(
            "results/{scale}/claims.json",
            caption="../report/claims.rst",
            category="Claims",
            labels={"claims": "Verdicts"},
        ),
        multiext("results/{scale}/claims", ".md", ".record.json"),
    log:
        "logs/{scale}/claims.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        families=lambda w: [of.split("/")[0] for of in teachers_of(w)],
        corpora=lambda w: [of.split("/")[1] for of in teachers_of(w)],
        posthoc=posthoc_of(config["table1"]["methods"]),
        by_design=lambda w: scale_of(w).get("claims", {}).get("by_design", []),
        description=lambda w: scale_of(w)["description"],
        code=fingerprint("claims"),
    shell:
        """
        python -m scripts.artifacts claims \
            --table1 {input.table1:q} \
            --metrics {input.metrics:q} --posthoc {params.posthoc:q} \
            --selected {input.selected:q} --coarse {input.coarse:q} --refined {input.refined:q} \
            --families {params.families:q} --corpora {params.corpora:q} \
            --figure2 {input.figure2:q} --figure3 {input.figure3:q} \
            --by-design {params.by_design:q} --description {params.description:q} \
            --output-prefix results/{wildcards.scale}/claims >{log:q} 2>&1
        """


rule data_report:
    """Row counts, and what preparation and encoding did to the data."""
    input:
        reports=collect(
            "results/{{scale}}/data/{dataset}/report.json",
            dataset=lambda w: dict.fromkeys(
                [b for _, b, _ in COLUMNS[w.scale]] + [c for _, _, c in COLUMNS[w.scale]]
            ),
        ),
        records=collect("results/{{scale}}/teacher/{of}/record.json", of=teachers_of),
        tests=lambda w: [f"results/{w.scale}/data/{b}/test.parquet" for b, _ in foreign_pairs(w)],
        trained_on=lambda w: [
            f"results/{w.scale}/data/{c}/train.parquet" for _, c in foreign_pairs(w)
        ],
    output:
        report(
            "results/{scale}/tables/data_report.csv",
            caption="../report/data_report.rst",
            category="Tables",
            labels={"table": "The data"},
        ),
        multiext("results/{scale}/tables/data_report", ".md", ".json", ".record.json"),
    log:
        "logs/{scale}/tables/data_report.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        families=lambda w: [of.split("/")[0] for of in teachers_of(w)],
        corpora=lambda w: [of.split("/")[1] for of in teachers_of(w)],
        code=fingerprint("data_report"),
    shell:
        """
        python -m scripts.artifacts data-report \
            --reports {input.reports:q} --records {input.records:q} \
            --families {params.families:q} --corpora {params.corpora:q} \
            --tests {input.tests:q} --trained-on {input.trained_on:q} \
            --output-prefix results/{wildcards.scale}/tables/data_report >{log:q} 2>&1
        """


rule page:
    """All that a scale has on one page: verdicts, Table 1 and what is behind it, figures, cost.

    Ablations are shown where they are there; a parameter, not an input, or they would be made.
    """
    input:
        expand("results/{{scale}}/{name}", name=[n for n in ARTIFACTS if n != "index.html"]),
        "results/{scale}/claims.md",
        "results/{scale}/tables/data_report.md",
        cells=collect(
            "results/{{scale}}/tables/table1/cells/{family}/{method}/{column}.json",
            family=lambda w: scale_of(w)["families"],
            method=config["table1"]["methods"],
            column=lambda w: [f"{setting}-{b}" for setting, b, _ in COLUMNS[w.scale]],
        ),
        figures=expand("results/{{scale}}/figures/{name}.svg", name=FIGURE_NAMES),
        predictions=collect(
            "results/{{scale}}/evaluation/{run}/predictions.parquet", run=table1_runs
        ),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=table1_runs),
    output:
        multiext("results/{scale}/index", ".html", ".record.json"),
    log:
        "logs/{scale}/index.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        posthoc=posthoc_of(config["table1"]["methods"]),
        paper=here("config/paper_table1.csv"),
        description=lambda w: scale_of(w)["description"],
        benchmark=shown_benchmark,
        corpus=shown_corpus,
        methods=FIGURE5,
        resources=lambda w: json.dumps(scale_of(w)["resources"], sort_keys=True),
        ablations=lambda w: content_of(f"results/{w.scale}/ablations.record.json"),
        code=fingerprint("page"),
    shell:
        """
        python -m scripts.artifacts page \
            --results results/{wildcards.scale} --benchmarks benchmarks/{wildcards.scale} \
            --logs logs/{wildcards.scale} --paper-table {params.paper:q} --posthoc {params.posthoc:q} \
            --description {params.description:q} --resources {params.resources:q} \
            --benchmark {params.benchmark} --corpus {params.corpus} --methods {params.methods:q} \
            --output-prefix results/{wildcards.scale}/index >{log:q} 2>&1
        """
