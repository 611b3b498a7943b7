"""From predictions to records. No torch here. On a cluster both steps of a cell are one job."""


rule evaluate:
    input:
        dataset=drawing,
        predictions=rules.predict.output.predictions,
    output:
        f"{RESULTS}/cells/{CELL}/scores.json",
    log:
        f"{RESULTS}/logs/evaluate/{CELL}.log",
    priority: by_dataset(True)
    retries: 3
    group:
        "score"
    conda:
        "../../envs/environment.yaml"
    resources:
        **SCORE,
    params:
        data=contents("evaluate"),
        code=fingerprints.sha256_of_modules("rspose.evaluation.evaluate"),
    script:
        "../scripts/evaluate.py"


rule record:
    input:
        scores=rules.evaluate.output[0],
        training=rules.train.output.training,
    output:
        f"{RESULTS}/records/{CELL}.json",
    log:
        f"{RESULTS}/logs/record/{CELL}.log",
    priority: by_dataset(True)
    group:
        "score"
    conda:
        "../../envs/environment.yaml"
    resources:
        **SCORE,
    params:
        said=lambda wildcards: said_of_loss(CONFIG, Cell.of(wildcards)),
    script:
        "../scripts/record.py"


rule control:
    """The oracle and the mean pose, evaluated like any cell."""
    input:
        dataset=drawing,
    output:
        predictions=f"{RESULTS}/controls/{{dataset}}/{{control}}/predictions.npz",
        scores=f"{RESULTS}/controls/{{dataset}}/{{control}}/scores.json",
        record=f"{RESULTS}/records/{{dataset}}/control/{{control}}.json",
    log:
        f"{RESULTS}/logs/control/{{dataset}}/{{control}}.log",
    priority: by_dataset(True)
    conda:
        "../../envs/environment.yaml"
    resources:
        **{**WITHOUT_MODEL, "mem_mb": control_memory},
    params:
        data=contents("train", "predict", "evaluate"),
        known=lambda wildcards: fingerprints.dataset_settings(wildcards.dataset),
        code=fingerprints.sha256_of_modules("rspose.evaluation.controls", "rspose.evaluation.evaluate"),
    script:
        "../scripts/control.py"
