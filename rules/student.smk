"""Stage student: one student per family, corpus, method and seed, from its pretrained base."""


wildcard_constraints:
    trained=one_of(
        {n for n, m in METHODS.items() if m["objective"] in ("hard_labels", "knowledge")}
    ),


rule student:
    """Train one student by hard labels, or by knowledge matching (Eq. 5)."""
    input:
        unpack(student_inputs),
    output:
        model="results/{scale}/student/{family}/{corpus}/{trained}/seed{seed}/model.safetensors",
        config="results/{scale}/student/{family}/{corpus}/{trained}/seed{seed}/config.json",
        validation="results/{scale}/student/{family}/{corpus}/{trained}/seed{seed}/validation.json",
        record="results/{scale}/student/{family}/{corpus}/{trained}/seed{seed}/record.json",
    log:
        "logs/{scale}/student/{family}/{corpus}/{trained}/seed{seed}.log",
    benchmark:
        "benchmarks/{scale}/student/{family}/{corpus}/{trained}/seed{seed}.tsv"
    conda:
        "../envs/train.yaml"
    threads: threads_of("student")
    resources:
        **machines("student"),
        mem_mb=needs("student", "mem_mb"),
        runtime=needs("student", "runtime"),
        slurm_extra=warned("student"),
    params:
        launch=launched("student"),
        base=subpath(input.base, parent=True),
        method=method_options,
        encoding=encoding_options,
        training=lambda w: training_options(w, "student", w.seed),
        inference=inference_options,
        folder=subpath(output.record, parent=True),
        state="results/{scale}/.state/student/{family}/{corpus}/{trained}/seed{seed}",
        code=fingerprint("student"),
    shell:
        """
        python -m {params.launch:q} scripts.student \
            --model {params.base:q} \
            --train {input.train:q} \
            --validation {input.validation:q} \
            {params.method:q} {params.encoding:q} {params.training:q} {params.inference:q} \
            --output-dir {params.folder:q} \
            --state-dir {params.state:q} \
            >{log:q} 2>&1
        """
