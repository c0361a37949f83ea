"""Stage student: one student per family, corpus, method and seed, from its pretrained base."""


wildcard_constraints:
    trained=one_of({n for n, m in METHODS.items() if m["objective"] in ("hard_labels", "knowledge")}),


def student_inputs(w):
    """Base, data and, for knowledge matching, the store and the chosen temperature."""
    results, method = f"results/{w.scale}", METHODS[w.trained]
    student = scale_of(w)["families"][w.family]["student"]
    inputs = {
        "base": f"{results}/models/{student}/record.json",
        "train": f"{results}/data/{w.corpus}/train.parquet",
        "validation": f"{results}/data/{w.corpus}/validation.parquet",
    }
    if method["objective"] == "knowledge":
        folder = f"{results}/knowledge/{w.family}/{w.corpus}/train"
        inputs |= {"manifest": f"{folder}/manifest.json", "store": f"{folder}/knowledge.safetensors"}
    if method.get("c") == "selected":
        inputs["selected"] = f"{results}/temperature/{w.family}/{w.corpus}/selected.json"
    return inputs


def method_options(w, input):
    """Options of a method: its objective, its recalibration and the student's side of Eq. 5."""
    method, student = METHODS[w.trained], scale_of(w)["student"]
    words = options(method=w.trained, objective=method["objective"])
    if method["objective"] == "hard_labels":
        return words
    words += options(
        knowledge=os.path.dirname(input.manifest),
        k=scale_of(w)["knowledge"]["k"],
        recalibration=method["recalibration"],
        delta=method.get("delta"),
        ls_space=method.get("ls_space"),
        student_side=method.get("student_side", student["student_side"]),
        ts_positions=method.get("ts_positions", student["ts_positions"]),
    )
    c = method.get("c")
    return words + (options(selected=input.selected) if c == "selected" else options(c=c))


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
        gpu=needs("student", "gpu"),
        mem_mb=needs("student", "mem_mb"),
        runtime=needs("student", "runtime"),
    params:
        base=subpath(input.base, parent=True),
        method=method_options,
        encoding=encoding_options,
        training=lambda w: training_options(w, "student", w.seed),
        inference=inference_options,
        folder=subpath(output.record, parent=True),
        code=fingerprint("scripts.student"),
    shell:
        """
        python -m scripts.student \
          --model {params.base:q} \
          --train {input.train:q} \
          --validation {input.validation:q} \
          {params.method:q} {params.encoding:q} {params.training:q} {params.inference:q} \
          --output-dir {params.folder:q} \
          > {log:q} 2>&1
        """
