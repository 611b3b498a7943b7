"""Generated datasets. Real ones are checked when the workflow starts."""


rule dataset:
    output:
        f"{RESULTS}/data/{{dataset}}/manifest.json",
    log:
        f"{RESULTS}/logs/dataset/{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        generate=lambda wildcards: config["data"][wildcards.dataset]["generate"],
        code=lambda wildcards: sources.sha256_of_sources(sources.DATA_SOURCES),
    script:
        "../scripts/dataset.py"
