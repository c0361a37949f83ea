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
        # --epochs --batch-size --micro-batch-size --learning-rate --warmup-ratio --weight-decay
        # --adam-eps --max-grad-norm --length-pool --gradient-checkpointing --offload-optimizer
        # --block-length --append-eos --bos --seed --dtype --bins --max-tokens: what is set of them
        training=lambda w: training_options(w, "student", w.seed),
        folder=subpath(output.record, parent=True),
        state="results/{scale}/.state/student/{family}/{corpus}/{method}/seed{seed}",
        code=fingerprint("student"),
    shell:
        """
        python -m {params.launch} scripts.student \
            --model {params.base:q} \
            --train {input.train:q} --validation {input.validation:q} \
            --method {wildcards.method} --objective hard_labels \
            {params.training:q} \
            --output-dir {params.folder:q} --state-dir {params.state:q} >{log:q} 2>&1
        """


teacher_of = lambda w: taught(w.family, w.corpus, w.method)


rule student_knowledge:
    """Train one student to match the teacher's recalibrated top-k knowledge (Eq. 5)."""
    input:
        base=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
        train="results/{scale}/data/{corpus}/train.parquet",
        validation="results/{scale}/data/{corpus}/validation.parquet",
        # A student that teaches itself is no pair.
        pair=branch(
            lambda w: "teacher" in METHODS[w.method],
            otherwise="results/{scale}/models/pairs/{family}/{corpus}.json",
        ),
        manifest=lambda w: f"results/{w.scale}/knowledge/{teacher_of(w)}/train/manifest.json",
        store=lambda w: f"results/{w.scale}/knowledge/{teacher_of(w)}/train/knowledge.safetensors",
        selected=branch(
            lambda w: METHODS[w.method].get("c") == "selected",
            then=lambda w: f"results/{w.scale}/temperature/{searched(w.family, w.corpus, w.method)}/selected.json",
        ),
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
        method=one_of(of_objective("knowledge")),
    conda:
        environment("train")
    threads: lambda w: declared(w, "student")["threads"]
    resources:
        **resources_of("student"),
        slurm_extra=warned("student"),
    params:
        launch=launched("student"),
        base=subpath(input.base, parent=True),
        knowledge=subpath(input.manifest, parent=True),
        k=lambda w: scale_of(w)["knowledge"]["k"],
        student_side=lambda w: scale_of(w)["student"]["student_side"],
        ts_positions=lambda w: scale_of(w)["student"]["ts_positions"],
        # Keys of the method: --objective, --recalibration with its --c, --delta or --ls-space; its
        # own --k, --student-side and --ts-positions take precedence over the scale's.
        method=method_options,
        c=branch(lambda w: METHODS[w.method].get("c") == "selected", then="--c"),
        # --epochs --batch-size --micro-batch-size --learning-rate --warmup-ratio --weight-decay
        # --adam-eps --max-grad-norm --length-pool --gradient-checkpointing --offload-optimizer
        # --block-length --append-eos --bos --seed --dtype --bins --max-tokens: what is set of them
        training=lambda w: training_options(w, "student", w.seed),
        folder=subpath(output.record, parent=True),
        state="results/{scale}/.state/student/{family}/{corpus}/{method}/seed{seed}",
        code=fingerprint("student"),
    shell:
        """
        python -m {params.launch} scripts.student \
            --model {params.base:q} \
            --train {input.train:q} --validation {input.validation:q} \
            --knowledge {params.knowledge:q} --pair {input.pair:q} --k {params.k} \
            --student-side {params.student_side:q} --ts-positions {params.ts_positions:q} \
            --method {wildcards.method} {params.method:q} {params.c:q} {input.selected:q} \
            {params.training:q} \
            --output-dir {params.folder:q} --state-dir {params.state:q} >{log:q} 2>&1
        """
