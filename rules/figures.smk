"""Stage artifacts, continued: Figures 2, 3, 5 and 6, each with the data behind it as CSV."""


rule figure2:
    """Figure 2: cumulative top-k mass, and measured bytes against k."""
    input:
        manifests=lambda w: stores(w.scale, "manifest.json"),
        stores=lambda w: stores(w.scale, "knowledge.safetensors"),
    output:
        multiext("results/{scale}/figures/figure2", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure2.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        stores=lambda w, input: [os.path.dirname(path) for path in input.manifests],
        names=lambda w: family_corpus(w.scale),
        prefix="results/{scale}/figures/figure2",
        code=fingerprint("figure2"),
    shell:
        """
        python -m scripts.artifacts figure2 \
            --stores {params.stores:q} \
            {params.names:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule figure3:
    """Figure 3: over- and under-confidence of the first token and of ranks 2 to 5."""
    input:
        ranks=lambda w: column_runs(w.scale, ["teacher", "finetune", "distill"], "ranks.parquet"),
        metrics=lambda w: column_runs(w.scale, ["teacher", "finetune", "distill"], "metrics.json"),
    output:
        multiext("results/{scale}/figures/figure3", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure3.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        prefix="results/{scale}/figures/figure3",
        code=fingerprint("figure3"),
    shell:
        """
        python -m scripts.artifacts figure3 \
            --ranks {input.ranks:q} \
            --metrics {input.metrics:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule figure5:
    """Figure 5: reliability diagrams of the paper's four models, ten bins."""
    input:
        predictions=lambda w: column_runs(w.scale, FIGURE5_METHODS, "predictions.parquet"),
        metrics=lambda w: column_runs(w.scale, FIGURE5_METHODS, "metrics.json"),
    output:
        multiext("results/{scale}/figures/figure5", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure5.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        methods=FIGURE5_METHODS,
        prefix="results/{scale}/figures/figure5",
        code=fingerprint("figure5"),
    shell:
        """
        python -m scripts.artifacts figure5 \
            --predictions {input.predictions:q} \
            --metrics {input.metrics:q} \
            --methods {params.methods:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """


rule figure6:
    """Figure 6: ECE against c, and students trained at other temperatures."""
    input:
        coarse=lambda w: searches(w.scale, "coarse.csv", [figure_benchmark(w.scale)]),
        refined=lambda w: searches(w.scale, "refined.csv", [figure_benchmark(w.scale)]),
        selected=lambda w: searches(w.scale, "selected.json", [figure_benchmark(w.scale)]),
        students=figure6_students,
    output:
        multiext("results/{scale}/figures/figure6", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure6.log",
    localrule: True
    conda:
        "../envs/artifacts.yaml"
    threads: 1
    params:
        families=lambda w: list(scale_of(w)["families"]),
        temperatures=figure6_temperatures,
        corpus=lambda w: figure_benchmark(w.scale),
        prefix="results/{scale}/figures/figure6",
        code=fingerprint("figure6"),
    shell:
        """
        python -m scripts.artifacts figure6 \
            --coarse {input.coarse:q} \
            --refined {input.refined:q} \
            --selected {input.selected:q} \
            --families {params.families:q} \
            --corpus {params.corpus:q} \
            --student-metrics {input.students:q} \
            --student-c {params.temperatures:q} \
            --output-prefix {params.prefix:q} \
            >{log:q} 2>&1
        """
