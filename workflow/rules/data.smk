"""Generated datasets, each in the folder that the config names. Real ones are checked when the workflow starts."""

for dataset in filter(is_generated, CONFIG.read_datasets):

    rule:
        name:
            f"dataset_{dataset}"
        output:
            # Kept until another is written: a folder without one is not the project's to draw into.
            update(f"{data_root(dataset)}/manifest.json"),
        log:
            f"{RESULTS}/logs/dataset/{dataset}.log",
        priority: priority_of(dataset)
        conda:
            "../../envs/environment.yaml"
        resources:
            **WITHOUT_MODEL,
        params:
            dataset=dataset,
            generate=CONFIG.data[dataset].generate.model_dump(),
            code=fingerprints.generator_version(dataset),
        script:
            "../scripts/dataset.py"
