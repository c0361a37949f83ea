"""Stage artifacts: Table 1 and its cells, Table 2, Figures 2, 3, 5, 6, the claims, the data report."""


rule table1_cell:
    """One cell of Table 1: ECE, accuracy and trust over seeds, with intervals."""
    input:
        unpack(cell_inputs),
    output:
        "results/{scale}/tables/table1/cells/{family}/{method}/{setting}-{benchmark}.json",
    log:
        "logs/{scale}/tables/table1/cells/{family}/{method}/{setting}-{benchmark}.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        identity=cell_options,
        code=fingerprint("cell"),
    shell:
        """
        python -m scripts.artifacts cell \
            --predictions {input.predictions:q} \
            --metrics {input.metrics:q} \
            {params.identity:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """


rule table1_files:
    """Table 1 in the paper's layout, from its cells."""
    input:
        cells=lambda w: cells(w.scale),
    output:
        multiext("results/{scale}/tables/table1", ".csv", ".md", ".tex", ".record.json"),
    log:
        "logs/{scale}/tables/table1.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        methods=config["table1"]["methods"],
        prefix="results/{scale}/tables/table1",
        code=fingerprint("table1"),
    shell:
        """
        python -m scripts.artifacts table1 \
            --cells {input.cells:q} \
            --methods {params.methods:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule table2:
    """Cases in which the fine-tuned student is confidently wrong, and what the others say."""
    input:
        predictions=lambda w: table2_runs(w, "predictions.parquet"),
        metrics=lambda w: table2_runs(w, "metrics.json"),
        questions=lambda w: f"results/{w.scale}/data/{figure_benchmark(w.scale)}/test.parquet",
        first=lambda w: scale_of(w)["figures"].get("table2_questions", []),
    output:
        multiext("results/{scale}/tables/table2", ".csv", ".md", ".tex", ".record.json"),
    log:
        "logs/{scale}/tables/table2.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        first=lambda w, input: options(first_questions=input.first or None),
        prefix="results/{scale}/tables/table2",
        code=fingerprint("table2"),
    shell:
        """
        python -m scripts.artifacts table2 \
            --predictions {input.predictions:q} \
            --metrics {input.metrics:q} \
            --questions {input.questions:q} \
            {params.first:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule claims_files:
    """A verdict on each claim of the paper, favourable or not."""
    input:
        table1="results/{scale}/tables/table1.csv",
        predictions=lambda w: table_runs(w.scale, "predictions.parquet"),
        metrics=lambda w: table_runs(w.scale, "metrics.json"),
        selected=lambda w: searches(w.scale, "selected.json"),
        coarse=lambda w: searches(w.scale, "coarse.csv"),
        refined=lambda w: searches(w.scale, "refined.csv"),
        figure2="results/{scale}/figures/figure2.csv",
        figure3="results/{scale}/figures/figure3.csv",
    output:
        multiext("results/{scale}/claims", ".json", ".md", ".record.json"),
    log:
        "logs/{scale}/claims.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        names=lambda w: family_corpus(w.scale),
        prefix="results/{scale}/claims",
        code=fingerprint("claims"),
    shell:
        """
        python -m scripts.artifacts claims \
            --table1 {input.table1:q} \
            --predictions {input.predictions:q} \
            --metrics {input.metrics:q} \
            --selected {input.selected:q} \
            --coarse {input.coarse:q} \
            --refined {input.refined:q} \
            {params.names:q} \
            --figure2 {input.figure2:q} \
            --figure3 {input.figure3:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule data_report:
    """Row counts, and what preparation and encoding did to the data."""
    input:
        reports=lambda w: dataset_reports(w.scale),
        records=lambda w: teacher_records(w.scale),
    output:
        multiext("results/{scale}/tables/data_report", ".csv", ".md", ".json", ".record.json"),
    log:
        "logs/{scale}/tables/data_report.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        names=lambda w: family_corpus(w.scale),
        prefix="results/{scale}/tables/data_report",
        code=fingerprint("data_report"),
    shell:
        """
        python -m scripts.artifacts data-report \
            --reports {input.reports:q} \
            --records {input.records:q} \
            {params.names:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """
