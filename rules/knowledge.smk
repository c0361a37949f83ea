"""Stage knowledge: the teacher's top-k at every supervised position, extracted once, offline."""

SHARED = {name for name, scale in SCALES.items() if scale["knowledge"].get("jobs", 1) > 1}


wildcard_constraints:
    split="train|validation",
    part="[1-9][0-9]*-of-[1-9][0-9]*",
    draws="[1-9][0-9]*",


rule knowledge:
    """Extract the teacher's top-k of one split of its corpus (paper section 4.1)."""
    input:
        teacher="results/{scale}/teacher/{family}/{corpus}/record.json",
        model="results/{scale}/teacher/{family}/{corpus}/model.safetensors",
        posthoc="results/{scale}/teacher/{family}/{corpus}/validation.json",
        data="results/{scale}/data/{corpus}/{split}.parquet",
        student=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
    output:
        store="results/{scale}/knowledge/{family}/{corpus}/{split}/knowledge.safetensors",
        manifest="results/{scale}/knowledge/{family}/{corpus}/{split}/manifest.json",
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/{split}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/{split}.tsv"
    wildcard_constraints:
        scale=one_of(SCALES.keys() - SHARED),
    conda:
        environment("train")
    threads: lambda w: declared(w, "knowledge")["threads"]
    resources:
        **resources_of("knowledge"),
        slurm_extra=warned("knowledge"),
    params:
        teacher=subpath(input.teacher, parent=True),
        student=subpath(input.student, parent=True),
        k=lambda w: scale_of(w)["knowledge"]["stored_k"],
        encoding=lambda w: options(
            **scale_of(w)["encoding"], bos=family_of(w).get("bos"), dtype=scale_of(w)["dtype"]
        ),
        max_tokens=lambda w: scale_of(w)["evaluation"]["max_tokens"],
        share=[],
        state="results/{scale}/.state/knowledge/{family}/{corpus}/{split}",
        folder=subpath(output.manifest, parent=True),
        code=fingerprint("knowledge"),
    shell:
        """
        python -m scripts.knowledge \
            --model {params.teacher:q} --posthoc {input.posthoc:q} \
            --student {params.student:q} --data {input.data:q} \
            --k {params.k} {params.encoding:q} --max-tokens {params.max_tokens} \
            --output-dir {params.folder:q} --state-dir {params.state:q} \
            {params.share:q} >{log:q} 2>&1
        """


use rule knowledge as knowledge_part with:
    output:
        store=temp(
            "results/{scale}/knowledge/{family}/{corpus}/{split}/parts/{part}/knowledge.safetensors"
        ),
        manifest=temp(
            "results/{scale}/knowledge/{family}/{corpus}/{split}/parts/{part}/manifest.json"
        ),
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/{split}/{part}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/{split}/{part}.tsv"
    wildcard_constraints:
        scale=one_of(SHARED),
    params:
        share=["--part", "{part}"],
        state="results/{scale}/.state/knowledge/{family}/{corpus}/{split}/{part}",
        folder=subpath(output.manifest, parent=True),


use rule knowledge as knowledge_of_student with:
    # For self-distillation: the fine-tuned student of the first seed is the teacher of all seeds.
    input:
        teacher=lambda w: f"{first_student(w)}/record.json",
        model=lambda w: f"{first_student(w)}/model.safetensors",
        posthoc=lambda w: f"{first_student(w)}/validation.json",
        data="results/{scale}/data/{corpus}/{split}.parquet",
        student=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
    output:
        store="results/{scale}/knowledge/{family}/{corpus}/{teacher}/{split}/knowledge.safetensors",
        manifest="results/{scale}/knowledge/{family}/{corpus}/{teacher}/{split}/manifest.json",
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/{teacher}/{split}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/{teacher}/{split}.tsv"
    wildcard_constraints:
        scale=one_of(SCALES),
    params:
        state="results/{scale}/.state/knowledge/{family}/{corpus}/{teacher}/{split}",


use rule knowledge as knowledge_sampled with:
    output:
        store="results/{scale}/knowledge/{family}/{corpus}/sampled-{draws}/{split}/knowledge.safetensors",
        manifest="results/{scale}/knowledge/{family}/{corpus}/sampled-{draws}/{split}/manifest.json",
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/sampled-{draws}/{split}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/sampled-{draws}/{split}.tsv"
    wildcard_constraints:
        scale=one_of(SCALES),
    params:
        share=["--draws", "{draws}"],
        state="results/{scale}/.state/knowledge/{family}/{corpus}/sampled-{draws}/{split}",


use rule knowledge as knowledge_of_task with:
    # On the validation split of a dataset that the teacher is not trained on: for `c_from`.
    input:
        teacher="results/{scale}/teacher/{family}/{corpus}/record.json",
        model="results/{scale}/teacher/{family}/{corpus}/model.safetensors",
        posthoc="results/{scale}/teacher/{family}/{corpus}/validation.json",
        data="results/{scale}/data/{dataset}/{split}.parquet",
        student=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
    output:
        store="results/{scale}/knowledge/{family}/{corpus}/on-{dataset}/{split}/knowledge.safetensors",
        manifest="results/{scale}/knowledge/{family}/{corpus}/on-{dataset}/{split}/manifest.json",
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/on-{dataset}/{split}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/on-{dataset}/{split}.tsv"
    wildcard_constraints:
        scale=one_of(SCALES),
    params:
        state="results/{scale}/.state/knowledge/{family}/{corpus}/on-{dataset}/{split}",


# It has the extraction's options too, so that a changed one is noticed once the parts are deleted.
use rule knowledge as knowledge_merge with:
    input:
        parts=collect(
            "results/{{scale}}/knowledge/{{family}}/{{corpus}}/{{split}}/parts/{part}/{name}",
            part=parts_of,
            name=["knowledge.safetensors", "manifest.json"],
        ),
        teacher="results/{scale}/teacher/{family}/{corpus}/record.json",
        model="results/{scale}/teacher/{family}/{corpus}/model.safetensors",
        posthoc="results/{scale}/teacher/{family}/{corpus}/validation.json",
        data="results/{scale}/data/{corpus}/{split}.parquet",
        student=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
    wildcard_constraints:
        scale=one_of(SHARED),
    threads: 1
    resources:
        **resources_of("knowledge") | {"gpu": 0},  # it copies arrays
        slurm_extra=APPENDED,
    params:
        share=lambda w, output: ["--merge"]
        + [f"{os.path.dirname(output.manifest)}/parts/{part}" for part in parts_of(w)],
