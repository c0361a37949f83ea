"""Stage artifacts, continued: the model card of a student, beside its weights."""

TEMPLATE = os.path.join(workflow.basedir, "first_distill/reporting/cards/card.md.j2")


rule model_card:
    """What a student is, how good it is and where it comes from, as a card of the hub."""
    input:
        record="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/record.json",
        metrics="results/{scale}/evaluation/{family}/{corpus}/{method}/seed{seed}/metrics.json",
        reports=lambda w: expand(
            "results/{scale}/data/{dataset}/report.json",
            scale=w.scale,
            dataset=dict.fromkeys([w.corpus, *benchmarks_of(w)]),
        ),
        base=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
        manifest=branch(
            lambda w: w.method in of_objective("knowledge"),
            then=lambda w: f"results/{w.scale}/knowledge/{teacher_of(w)}/train/manifest.json",
        ),
        teacher_base=branch(
            lambda w: w.method in of_objective("knowledge"),
            then=lambda w: f"results/{w.scale}/models/"
            f"{family_of(w)['student' if 'teacher' in METHODS[w.method] else 'teacher']}/record.json",
        ),
        selected=branch(
            lambda w: METHODS[w.method].get("c") == "selected",
            then=lambda w: c_of(w.scale, w.family, w.corpus, w.method),
        ),
    output:
        multiext(
            "results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/README",
            ".md",
            ".record.json",
        ),
    log:
        "logs/{scale}/cards/{family}/{corpus}/{method}/seed{seed}.log",
    wildcard_constraints:
        method=one_of(of_objective("hard_labels") | of_objective("knowledge")),
    localrule: True
    conda:
        environment("artifacts")
    params:
        prefix=lambda w, output: output[0].removesuffix(".md"),
        template=sha256_file(TEMPLATE),  # no code, but it changes what is written
        code=fingerprint("card"),
    shell:
        """
        python -m scripts.artifacts card \
            --record {input.record:q} --metrics {input.metrics:q} --reports {input.reports:q} \
            --base {input.base:q} --manifest {input.manifest:q} \
            --teacher-base {input.teacher_base:q} --selected {input.selected:q} \
            --output-prefix {params.prefix:q} >{log:q} 2>&1
        """
