"""Training: one job a cell, from one set of initial weights a model."""


rule initial_weights:
    output:
        f"{RESULTS}/work/initial_weights/{{model}}.pth",
    log:
        f"{RESULTS}/logs/initial_weights/{{model}}.log",
    priority: 1000  # all trainings of the model wait for it
    conda:
        "../../envs/environment.yaml"
    threads: lambda wildcards: CONFIG.model_settings[wildcards.model].initial_weights.threads
    resources:
        mem_mb=megabytes(8000),
        runtime=minutes(2),
    params:
        settings=lambda wildcards: fingerprints.initial_weights_fingerprint(CONFIG, wildcards.model),
    script:
        "../scripts/initial_weights.py"


rule train:
    input:
        dataset=drawing,
        initial_weights=initial_weights,
        choice=choice,
    output:
        checkpoint=f"{RESULTS}/cells/{CELL}/checkpoint.pth",
        training=f"{RESULTS}/cells/{CELL}/training.json",
        config=f"{RESULTS}/cells/{CELL}/config.py",
    log:
        f"{RESULTS}/logs/train/{CELL}.log",
    priority: by_dataset(False)
    retries: 3
    conda:
        "../../envs/environment.yaml"
    threads: training_threads
    resources:
        **TRAINED,
    params:
        data=contents("train"),
        pretrained=pretrained_contents,
        # Checkpoints lie in a work directory that Snakemake does not know, so that a failed attempt is resumed.
        fingerprint=lambda wildcards: fingerprints.training_fingerprint(CONFIG, Cell.of(wildcards)),
    script:
        "../scripts/train.py"


rule predict:
    input:
        dataset=drawing,
        checkpoint=rules.train.output.checkpoint,
        choice=choice,
    output:
        predictions=f"{RESULTS}/cells/{CELL}/predictions.npz",
        samples=f"{RESULTS}/cells/{CELL}/samples.npz",
    log:
        f"{RESULTS}/logs/predict/{CELL}.log",
    priority: by_dataset(True)
    retries: 3
    conda:
        "../../envs/environment.yaml"
    threads: CONFIG.training.threads
    resources:
        gpu=gpus,
        mem_mb=megabytes(16000),
        runtime=minutes(2),
        attempt=attempt_number,
    params:
        data=contents("predict"),
        evaluation=CONFIG.evaluation.model_dump(),
        code=fingerprints.sha256_of_modules("rspose.training.predict"),
    script:
        "../scripts/predict.py"
