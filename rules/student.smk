"""Stage student: one student per family, corpus, method and seed, from its pretrained base."""


rule student_labels:
    """Fine-tune one student with hard labels (cross-entropy)."""
    input:
        base=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
        train="results/{scale}/data/{corpus}/train.parquet",
        validation="results/{scale}/data/{corpus}/validation.parquet",
    output:
        model="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/model.safetensors",
        config="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/config.json",
        validation="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/validation.json",
        record="results/{scale}/student/{family}/{corpus}/{method}/seed{seed}/record.json",
    log:
        "logs/{scale}/student/{family}/{corpus}/{method}/seed{seed}.log",
    benchmark:
        "benchmarks/{scale}/student/{family}/{corpus}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        method=one_of(of_objective("hard_labels")),
    conda:
        environment("train")
    threads: lambda w: declared(w, "student")["threads"]
    resources:
        **resources_of("student"),
        slurm_extra=warned("student"),
    params:
        launch=launched("student"),
        base=subpath(input.base, parent=True),
        loss=["--objective", "hard_labels"],
        training=lambda w: training_options(w, "student", w.seed),
        folder=subpath(output.record, parent=True),
        state="results/{scale}/.state/student/{family}/{corpus}/{method}/seed{seed}",
        code=fingerprint("student"),
    shell:
        """
        python -m {params.launch:q} scripts.student \
            --model {params.base:q} \
            --train {input.train:q} --validation {input.validation:q} \
            --method {wildcards.method} {params.loss:q} {params.training:q} \
            --output-dir {params.folder:q} --state-dir {params.state:q} >{log:q} 2>&1
        """


use rule student_labels as student_knowledge with:
    # Instead: match the teacher's recalibrated top-k knowledge (Eq. 5).
    input:
        base=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
        train="results/{scale}/data/{corpus}/train.parquet",
        validation="results/{scale}/data/{corpus}/validation.parquet",
        pair="results/{scale}/models/pairs/{family}.json",
        manifest="results/{scale}/knowledge/{family}/{corpus}/train/manifest.json",
        store="results/{scale}/knowledge/{family}/{corpus}/train/knowledge.safetensors",
        selected=branch(
            lambda w: METHODS[w.method].get("c") == "selected",
            then="results/{scale}/temperature/{family}/{corpus}/selected.json",
        ),
    wildcard_constraints:
        method=one_of(of_objective("knowledge")),
    params:
        # --objective, --recalibration and its --c, --delta or --ls-space are keys of the method,
        # which may have its own --student-side and --ts-positions too.
        loss=lambda w, input: options(
            knowledge=os.path.dirname(input.manifest),
            pair=input.pair,
            k=scale_of(w)["knowledge"]["k"],
            **{key: scale_of(w)["student"][key] for key in ("student_side", "ts_positions")}
            | METHODS[w.method]
            | ({"c": None, "selected": input.selected} if input.selected else {}),
        ),
