"""Stage models: base checkpoints with a record of where they came from."""


rule tokenizer:
    """The tokenizer that a pretrained family's teacher and student share."""
    input:
        text=collect(
            "results/{{scale}}/data/{dataset}/train.parquet",
            dataset=lambda w: scale_of(w)["tokenizers"][w.tokenizer].get("text", []),
        ),
    output:
        tokenizer="results/{scale}/models/tokenizers/{tokenizer}/tokenizer.json",
        settings="results/{scale}/models/tokenizers/{tokenizer}/tokenizer_config.json",
        record="results/{scale}/models/tokenizers/{tokenizer}/record.json",
    log:
        "logs/{scale}/models/tokenizers/{tokenizer}.log",
    benchmark:
        "benchmarks/{scale}/models/tokenizers/{tokenizer}.tsv"
    conda:
        environment("train")
    resources:
        **resources_of("data"),
    params:
        settings=lambda w: options(**scale_of(w)["tokenizers"][w.tokenizer] | {"text": None}),
        world=lambda w: options(world_settings=scale_of(w)["data"].get("world")),
        folder=subpath(output.tokenizer, parent=True),
        code=fingerprint("tokenizer"),
    shell:
        """
        python -m scripts.models tokenizer \
            --text {input.text:q} {params.settings:q} {params.world:q} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


rule pretrained_model:
    """A base checkpoint from nothing: brief pretraining on this scale's own text."""
    input:
        text=collect(
            "results/{{scale}}/data/{dataset}/train.parquet",
            dataset=lambda w: scale_of(w)["models"][w.model]["pretrain"]["text"],
        ),
        tokenizer=collect(
            "results/{{scale}}/models/tokenizers/{name}/{file}",
            name=lambda w: scale_of(w)["models"][w.model]["pretrain"]["tokenizer"],
            file=["tokenizer.json", "tokenizer_config.json", "record.json"],
        ),
        start=collect(
            "results/{{scale}}/models/pretrained/{name}/record.json",
            name=lambda w: scale_of(w)["models"][w.model]["pretrain"].get("start_from", []),
        ),
    output:
        "results/{scale}/models/pretrained/{model}/record.json",
    log:
        "logs/{scale}/models/pretrained/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/pretrained/{model}.tsv"
    conda:
        environment("train")
    threads: lambda w: declared(w, "models")["threads"]
    resources:
        **resources_of("models"),
    params:
        tokenizer=lambda w, input: os.path.dirname(input.tokenizer[0]),
        start=lambda w, input: [os.path.dirname(path) for path in input.start],
        recipe=lambda w: options(
            **scale_of(w)["models"][w.model]["pretrain"]
            | {"text": None, "tokenizer": None, "start_from": None}
        ),
        folder=subpath(output[0], parent=True),
        state="results/{scale}/.state/models/{model}",
        code=fingerprint("pretrain"),
    shell:
        """
        python -m scripts.models pretrain \
            --text {input.text:q} --tokenizer {params.tokenizer:q} \
            --start-from {params.start:q} {params.recipe:q} \
            --output-dir {params.folder:q} --state-dir {params.state:q} >{log:q} 2>&1
        """


rule pruned_model:
    """A base checkpoint of another one's layers, evenly spaced."""
    input:
        collect(
            "results/{{scale}}/models/{name}/record.json",
            name=lambda w: scale_of(w)["models"][w.model]["prune"]["from"],
        ),
    output:
        "results/{scale}/models/pruned/{model}/record.json",
    log:
        "logs/{scale}/models/pruned/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/pruned/{model}.tsv"
    priority: 100
    conda:
        environment("train")
    resources:
        **resources_of("models"),
    params:
        source=subpath(input[0], parent=True),
        layers=lambda w: scale_of(w)["models"][w.model]["prune"]["layers"],
        folder=subpath(output[0], parent=True),
        code=fingerprint("prune"),
    shell:
        """
        python -m scripts.models prune \
            --source {params.source:q} --layers {params.layers:q} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


rule base_model:
    """A base checkpoint with its record: shipped, made here, in a folder, or on the hub."""
    input:
        copied=lambda w: [f"{copied_of(w)}/record.json"] if copied_of(w) else [],
    output:
        "results/{scale}/models/{model}/record.json",
    log:
        "logs/{scale}/models/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/{model}.tsv"
    priority: 100
    localrule: FETCH_LOCALLY
    conda:
        environment("train")
    resources:
        **FETCH,
        **resources_of("models"),
    params:
        source=source_of,
        folder=subpath(output[0], parent=True),
        code=fingerprint("base_model"),
    shell:
        """
        python -m scripts.models {params.source:q} \
            --output-dir {params.folder:q} >{log:q} 2>&1
        """


rule pair:
    """Refuse a family that cannot be trained on a corpus and tested on its benchmarks.

    An input of students alone, and early by priority: another student must not retrain the teacher.
    """
    input:
        teacher=lambda w: f"results/{w.scale}/models/{family_of(w)['teacher']}/record.json",
        student=lambda w: f"results/{w.scale}/models/{family_of(w)['student']}/record.json",
        corpus=collect(
            "results/{{scale}}/data/{{corpus}}/{split}.parquet", split=["train", "validation"]
        ),
        tests=collect("results/{{scale}}/data/{name}/test.parquet", name=benchmarks_of),
    output:
        "results/{scale}/models/pairs/{family}/{corpus}.json",
    log:
        "logs/{scale}/models/pairs/{family}/{corpus}.log",
    priority: 100
    localrule: True
    conda:
        environment("train")
    params:
        teacher=subpath(input.teacher, parent=True),
        student=subpath(input.student, parent=True),
        k=lambda w: scale_of(w)["knowledge"]["stored_k"],
        encoding=lambda w: options(**scale_of(w)["encoding"], bos=family_of(w).get("bos")),
        code=fingerprint("pair"),
    shell:
        """
        python -m scripts.models pair \
            --teacher {params.teacher:q} --student {params.student:q} \
            --corpus {input.corpus:q} --tests {input.tests:q} --k {params.k} {params.encoding:q} \
            --output {output:q} >{log:q} 2>&1
        """
