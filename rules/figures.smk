"""Stage artifacts, continued: Figures 2, 3, 5, 6 and of meters, each with its data as CSV."""

FIGURE_NAMES = ["figure2", "figure3", "figure5", "figure6", "meters"]
FIGURE5 = ["teacher", "finetune", "distill", "first_ts"]  # Figure 3 has the first three

figure3_runs = lambda w: models_of(w, FIGURE5[:3], [shown_corpus(w)])
figure5_runs = lambda w: models_of(w, FIGURE5, [shown_corpus(w)])
shown_searches = lambda w: [f"{family}/{shown_corpus(w)}" for family in scale_of(w)["families"]]


rule figure2:
    """Figure 2: cumulative top-k mass, and measured bytes against k."""
    input:
        manifests=collect("results/{{scale}}/knowledge/{of}/train/manifest.json", of=teachers_of),
        stores=collect(
            "results/{{scale}}/knowledge/{of}/train/knowledge.safetensors", of=teachers_of
        ),
    output:
        report(
            "results/{scale}/figures/figure2.svg",
            caption="../report/figure2.rst",
            category="Figures",
            labels={"figure": "Figure 2", "shows": "mass of the top k, and bytes"},
        ),
        multiext("results/{scale}/figures/figure2", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure2.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        stores=lambda w, input: [os.path.dirname(path) for path in input.manifests],
        families=lambda w: [of.split("/")[0] for of in teachers_of(w)],
        corpora=lambda w: [of.split("/")[1] for of in teachers_of(w)],
        code=fingerprint("figure2"),
    shell:
        """
        python -m scripts.artifacts figure2 \
            --stores {params.stores:q} \
            --families {params.families:q} --corpora {params.corpora:q} \
            --output-prefix results/{wildcards.scale}/figures/figure2 >{log:q} 2>&1
        """


rule figure3:
    """Figure 3: over- and under-confidence of the first token and of ranks 2 to 5."""
    input:
        ranks=collect("results/{{scale}}/evaluation/{run}/ranks.parquet", run=figure3_runs),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=figure3_runs),
    output:
        report(
            "results/{scale}/figures/figure3.svg",
            caption="../report/figure3.rst",
            category="Figures",
            labels={"figure": "Figure 3", "shows": "over- and under-confidence by rank"},
        ),
        multiext("results/{scale}/figures/figure3", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure3.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        benchmark=shown_benchmark,
        code=fingerprint("figure3"),
    shell:
        """
        python -m scripts.artifacts figure3 \
            --ranks {input.ranks:q} --metrics {input.metrics:q} \
            --benchmark {params.benchmark} \
            --output-prefix results/{wildcards.scale}/figures/figure3 >{log:q} 2>&1
        """


rule figure5:
    """Figure 5: reliability diagrams of the paper's four models, ten bins."""
    input:
        predictions=collect(
            "results/{{scale}}/evaluation/{run}/predictions.parquet", run=figure5_runs
        ),
        metrics=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=figure5_runs),
    output:
        report(
            "results/{scale}/figures/figure5.svg",
            caption="../report/figure5.rst",
            category="Figures",
            labels={"figure": "Figure 5", "shows": "reliability diagrams"},
        ),
        multiext("results/{scale}/figures/figure5", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure5.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        methods=FIGURE5,
        benchmark=shown_benchmark,
        code=fingerprint("figure5"),
    shell:
        """
        python -m scripts.artifacts figure5 \
            --metrics {input.metrics:q} \
            --benchmark {params.benchmark} --methods {params.methods:q} \
            --output-prefix results/{wildcards.scale}/figures/figure5 >{log:q} 2>&1
        """


rule figure6:
    """Figure 6: ECE against c, and students trained at other temperatures."""
    input:
        coarse=collect("results/{{scale}}/temperature/{of}/coarse.csv", of=shown_searches),
        refined=collect("results/{{scale}}/temperature/{of}/refined.csv", of=shown_searches),
        selected=collect("results/{{scale}}/temperature/{of}/selected.json", of=shown_searches),
        students=collect("results/{{scale}}/evaluation/{run}/metrics.json", run=figure6_students),
    output:
        report(
            "results/{scale}/figures/figure6.svg",
            caption="../report/figure6.rst",
            category="Figures",
            labels={"figure": "Figure 6", "shows": "the choice of c"},
        ),
        multiext("results/{scale}/figures/figure6", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/figure6.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        families=lambda w: list(scale_of(w)["families"]),
        corpus=shown_corpus,
        benchmark=shown_benchmark,
        temperatures=lambda w: list(figure6_students(w).values()),
        code=fingerprint("figure6"),
    shell:
        """
        python -m scripts.artifacts figure6 \
            --coarse {input.coarse:q} --refined {input.refined:q} --selected {input.selected:q} \
            --families {params.families:q} --corpus {params.corpus} --benchmark {params.benchmark} \
            --student-metrics {input.students:q} --student-c {params.temperatures:q} \
            --output-prefix results/{wildcards.scale}/figures/figure6 >{log:q} 2>&1
        """


rule figure_meters:
    """Whether the order of the methods depends on the measure of calibration."""
    input:
        table1="results/{scale}/tables/table1.csv",
    output:
        report(
            "results/{scale}/figures/meters.svg",
            caption="../report/meters.rst",
            category="Figures",
            labels={"figure": "Meters", "shows": "the order of methods by each meter"},
        ),
        multiext("results/{scale}/figures/meters", ".pdf", ".png", ".csv", ".record.json"),
    log:
        "logs/{scale}/figures/meters.log",
    localrule: True
    conda:
        environment("artifacts")
    params:
        code=fingerprint("meters"),
    shell:
        """
        python -m scripts.artifacts meters \
            --table1 {input.table1:q} \
            --output-prefix results/{wildcards.scale}/figures/meters >{log:q} 2>&1
        """
