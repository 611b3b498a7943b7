"""Generated datasets, each in the folder that the config names. Real ones are checked when the workflow starts."""

for dataset in filter(is_generated, config["datasets"]):

    rule:
        name:
            f"dataset_{dataset}"
        output:
            f"{config['data'][dataset]['root']}/manifest.json",
        log:
            f"{RESULTS}/logs/dataset/{dataset}.log",
        conda:
            "../../envs/environment.yaml"
        resources:
            **WITHOUT_MODEL,
        params:
            dataset=dataset,
            generate=config["data"][dataset]["generate"],
            code=generator_version(),
        script:
            "../scripts/dataset.py"
