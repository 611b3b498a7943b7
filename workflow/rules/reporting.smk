"""From records to tables, and from predictions to figures."""


def figure_sheets():
    return expand(
        f"{RESULTS}/figures/{{dataset}}_{{kind}}.png", dataset=config["datasets"], kind=["predictions", "heatmaps"]
    )


def cells_of_dataset(wildcards):
    return [cell for cell in CELLS if cell.dataset == wildcards.dataset and cell.seed == config["seeds"][0]]


rule collect:
    input:
        records(),
    output:
        f"{RESULTS}/records.csv",
    params:
        records=f"{RESULTS}/records",
    log:
        f"{RESULTS}/logs/collect.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/collect.py"


rule tables:
    input:
        records=records(),
        collected=rules.collect.output,
    output:
        main=f"{RESULTS}/tables/main.md",
    params:
        records=f"{RESULTS}/records",
        code=sources.sha256_of_sources(sources.REPORTING_SOURCES),
    log:
        f"{RESULTS}/logs/tables.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/tables.py"


rule figures:
    input:
        samples=lambda wildcards: [f"{RESULTS}/cells/{cell.path}/samples.npz" for cell in cells_of_dataset(wildcards)],
        predictions=lambda wildcards: [
            f"{RESULTS}/cells/{cell.path}/predictions.npz" for cell in cells_of_dataset(wildcards)
        ],
        records=lambda wildcards: [f"{RESULTS}/records/{cell.path}.json" for cell in cells_of_dataset(wildcards)],
    output:
        predictions=report(f"{RESULTS}/figures/{{dataset}}_predictions.png", category="Figures"),
        heatmaps=report(f"{RESULTS}/figures/{{dataset}}_heatmaps.png", category="Figures"),
    params:
        code=sources.sha256_of_sources(sources.REPORTING_SOURCES),
    log:
        f"{RESULTS}/logs/figures/{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    script:
        "../scripts/figures.py"
