"""Tuning: the trials of each loss on each dataset, model and head, and the choice among them."""

TUNED = "{dataset}/{model}/{head}/{loss}"


localrules:
    choose,


rule trial:
    """A training at one point of the space and its score, on training images that it is not trained on."""
    input:
        dataset=drawing,
        initial_weights=initial_weights,
    output:
        f"{RESULTS}/tuning/{TUNED}/trial{{trial}}.json",
    log:
        f"{RESULTS}/logs/tuning/{TUNED}/trial{{trial}}.log",
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
        fingerprint=lambda wildcards: fingerprints.training_fingerprint(
            *tuning.tried(CONFIG, tuning.tuned_cell(CONFIG, wildcards), int(wildcards.trial))
        ),
        code=fingerprints.sha256_of_modules("rspose.training.trial"),
    script:
        "../scripts/trial.py"


rule choose:
    input:
        trials=trials,
    output:
        f"{RESULTS}/tuning/{TUNED}/choice.json",
    log:
        f"{RESULTS}/logs/tuning/{TUNED}/choice.log",
    conda:
        "../../envs/environment.yaml"
    params:
        kept=lambda wildcards: tuning.kept(CONFIG, tuning.tuned_cell(CONFIG, wildcards)),
    script:
        "../scripts/choose.py"
