"""Training: one job a cell, from one set of initial weights a model."""


rule initial_weights:
    output:
        f"{RESULTS}/work/initial_weights/{{model}}.pth",
    params:
        settings=lambda wildcards: sources.initial_weights_fingerprint(config, wildcards.model),
    log:
        f"{RESULTS}/logs/initial_weights/{{model}}.log",
    threads: 2
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/initial_weights.py"


rule train:
    input:
        dataset=dataset_files,
        initial_weights=initial_weights,
    output:
        checkpoint=f"{RESULTS}/cells/{CELL}/checkpoint.pth",
        training=f"{RESULTS}/cells/{CELL}/training.json",
        config=f"{RESULTS}/cells/{CELL}/config.py",
    params:
        # Checkpoints lie in a work directory that Snakemake does not know, so that a failed attempt is resumed.
        fingerprint=lambda wildcards: sources.training_fingerprint(config, Cell.of(wildcards)),
    log:
        f"{RESULTS}/logs/train/{CELL}.log",
    threads: config["training"]["threads"]
    retries: 1
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/train.py"


rule predict:
    input:
        dataset=dataset_files,
        checkpoint=rules.train.output.checkpoint,
    output:
        predictions=f"{RESULTS}/cells/{CELL}/predictions.npz",
        samples=f"{RESULTS}/cells/{CELL}/samples.npz",
    params:
        evaluation=config["evaluation"],
        code=sources.sha256_of_sources(sources.PREDICTION_SOURCES),
    log:
        f"{RESULTS}/logs/predict/{CELL}.log",
    threads: config["training"]["threads"]
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/predict.py"
