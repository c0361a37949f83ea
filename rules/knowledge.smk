"""Stage knowledge: the teacher's top-k at every supervised position, kept once, offline."""


wildcard_constraints:
    split="train|validation",


rule knowledge:
    """Extract the teacher's top-k of one split of its corpus (paper section 4.1)."""
    input:
        teacher="results/{scale}/teacher/{family}/{corpus}/record.json",
        model="results/{scale}/teacher/{family}/{corpus}/model.safetensors",
        data="results/{scale}/data/{corpus}/{split}.parquet",
    output:
        store="results/{scale}/knowledge/{family}/{corpus}/{split}/knowledge.safetensors",
        manifest="results/{scale}/knowledge/{family}/{corpus}/{split}/manifest.json",
    log:
        "logs/{scale}/knowledge/{family}/{corpus}/{split}.log",
    benchmark:
        "benchmarks/{scale}/knowledge/{family}/{corpus}/{split}.tsv"
    conda:
        "../envs/train.yaml"
    threads: threads_of("knowledge")
    resources:
        gpu=needs("knowledge", "gpu"),
        mem_mb=needs("knowledge", "mem_mb"),
        runtime=needs("knowledge", "runtime"),
    params:
        teacher=subpath(input.teacher, parent=True),
        encoding=encoding_options,
        k=lambda w: scale_of(w)["knowledge"]["stored_k"],
        dtype=lambda w: scale_of(w)["dtype"],
        max_tokens=lambda w: scale_of(w)["evaluation"]["max_tokens"],
        folder=subpath(output.manifest, parent=True),
        code=fingerprint("scripts.knowledge"),
    shell:
        """
        python -m scripts.knowledge \
            --model {params.teacher:q} \
            --data {input.data:q} \
            {params.encoding:q} \
            --k {params.k} \
            --dtype {params.dtype} \
            --max-tokens {params.max_tokens} \
            --output-dir {params.folder:q} \
            >{log:q} 2>&1
        """
