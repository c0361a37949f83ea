"""Stage models: base checkpoints with a record of where they came from."""


rule tokenizer:
    """The tokenizer that a pretrained family's teacher and student share."""
    input:
        text=tokenizer_text,
    output:
        tokenizer="results/{scale}/models/tokenizers/{tokenizer}/tokenizer.json",
        settings="results/{scale}/models/tokenizers/{tokenizer}/tokenizer_config.json",
        record="results/{scale}/models/tokenizers/{tokenizer}/record.json",
    log:
        "logs/{scale}/models/tokenizers/{tokenizer}.log",
    benchmark:
        "benchmarks/{scale}/models/tokenizers/{tokenizer}.tsv"
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        mem_mb=needs("data", "mem_mb"),
        runtime=needs("data", "runtime"),
    params:
        settings=tokenizer_options,
        text=lambda w, input: ["--text", *input.text] if input.text else [],
        folder=subpath(output.tokenizer, parent=True),
        code=fingerprint("models"),
    shell:
        """
        python -m scripts.models tokenizer \
            {params.settings:q} {params.text:q} \
            --output-dir {params.folder:q} \
            >{log:q} 2>&1
        """


rule pretrained_model:
    """A base checkpoint from nothing: brief pretraining on this scale's own text."""
    input:
        unpack(pretraining_inputs),
    output:
        "results/{scale}/models/pretrained/{model}/record.json",
    log:
        "logs/{scale}/models/pretrained/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/pretrained/{model}.tsv"
    conda:
        "../envs/train.yaml"
    threads: threads_of("models")
    resources:
        gpu=needs("models", "gpu"),
        mem_mb=needs("models", "mem_mb"),
        runtime=needs("models", "runtime"),
    params:
        settings=pretraining_options,
        tokenizer=subpath(input.tokenizer, parent=True),
        folder=subpath(output[0], parent=True),
        state="results/{scale}/.state/models/{model}",
        code=fingerprint("models"),
    shell:
        """
        python -m scripts.models pretrain \
            --text {input.text:q} \
            --tokenizer {params.tokenizer:q} \
            {params.settings:q} \
            --output-dir {params.folder:q} \
            --state-dir {params.state:q} \
            >{log:q} 2>&1
        """


rule base_model:
    """A base checkpoint with its record: shipped, pretrained here, or resolved on the hub."""
    input:
        base_model_inputs,
    output:
        "results/{scale}/models/{model}/record.json",
    log:
        "logs/{scale}/models/{model}.log",
    benchmark:
        "benchmarks/{scale}/models/{model}.tsv"
    priority: 100
    localrule: FETCH_LOCALLY
    conda:
        "../envs/train.yaml"
    threads: 1
    resources:
        **fetch_partition(),
        mem_mb=needs("models", "mem_mb"),
        runtime=needs("models", "runtime"),
    params:
        settings=base_model_options,
        bundle=bundle_digest,
        folder=subpath(output[0], parent=True),
        code=fingerprint("models"),
    shell:
        """
        python -m scripts.models {params.settings:q} \
            --output-dir {params.folder:q} \
            >{log:q} 2>&1
        """


rule pair:
    """Refuse a family whose teacher and student have different vocabularies.

    Students that match knowledge wait for it. It comes before other jobs by priority and is no
    input of rule teacher: another student must not tune the teacher again.
    """
    input:
        teacher=lambda w: base_record(w, "teacher"),
        student=lambda w: base_record(w, "student"),
    output:
        "results/{scale}/models/pairs/{family}.json",
    log:
        "logs/{scale}/models/pairs/{family}.log",
    priority: 100
    localrule: True
    conda:
        "../envs/train.yaml"
    threads: 1
    params:
        teacher=subpath(input.teacher, parent=True),
        student=subpath(input.student, parent=True),
        code=fingerprint("pair"),
    shell:
        """
        python -m scripts.models pair \
            --teacher {params.teacher:q} \
            --student {params.student:q} \
            --output {output:q} \
            >{log:q} 2>&1
        """
