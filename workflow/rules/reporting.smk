"""From records to tables, and from predictions to figures."""


# Seconds of work, once all is measured: not worth a place in a cluster's queue.
localrules:
    collect,
    tables,
    first_table,
    report,


# Beside the code: published numbers, and what the metrics of the datasets are called.
READ = fingerprints.sha256_of_sources(
    [
        *Path(workflow.basedir, "results/published").glob("*.csv"),
        *Path(workflow.basedir, "rspose/datasets").glob("*.py"),
    ]
)
ASSETS = fingerprints.sha256_of_sources(Path(workflow.basedir, "rspose/reporting/report/assets").iterdir())


rule collect:
    input:
        all_records(),
    output:
        f"{RESULTS}/records.csv",
    log:
        f"{RESULTS}/logs/collect.log",
    conda:
        "../../envs/environment.yaml"
    params:
        records=records_folder,
        code=fingerprints.sha256_of_modules("rspose.reporting.frame"),
    script:
        "../scripts/reporting.py"


rule tables:
    input:
        records=all_records(),
        collected=rules.collect.output,
    output:
        main=report(f"{RESULTS}/tables/main.md", category="Tables", caption="../report/tables.rst"),
    log:
        f"{RESULTS}/logs/tables.log",
    conda:
        "../../envs/environment.yaml"
    params:
        records=records_folder,
        region=CONFIG.equivalence,
        read=READ,
        code=fingerprints.sha256_of_modules("rspose.reporting.tables"),
    script:
        "../scripts/reporting.py"


rule first_table:
    """The main table of the first dataset, printed while the others are trained."""
    input:
        [] if CONFIG.records else records(CONFIG.datasets[0]),
    output:
        f"{RESULTS}/work/first_table.md",
    log:
        f"{RESULTS}/logs/first_table.log",
    priority: 1000
    conda:
        "../../envs/environment.yaml"
    params:
        records=first_records_folder,
        region=CONFIG.equivalence,
    script:
        "../scripts/first_table.py"


rule study:
    """Confidence, errors, training and differences drawn, from the records alone."""
    input:
        all_records(),
    output:
        report(
            directory(f"{RESULTS}/figures/study"),
            patterns=["{name}.png"],
            category="Study",
            caption="../report/study.rst",
            labels={"figure": "{name}"},
        ),
    log:
        f"{RESULTS}/logs/study.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        **WITHOUT_MODEL,
    params:
        records=records_folder,
        region=CONFIG.equivalence,
        code=fingerprints.sha256_of_modules("rspose.reporting.study_figures"),
    script:
        "../scripts/reporting.py"


rule figures:
    input:
        samples=of_drawn_cells("cells/{}/samples.npz"),
        predictions=of_drawn_cells("cells/{}/predictions.npz"),
        records=of_drawn_cells("records/{}.json"),
    output:
        predictions=report(
            f"{RESULTS}/figures/{{dataset}}_predictions.png",
            category="Predictions",
            caption="../report/predictions.rst",
            labels={"dataset": "{dataset}", "figure": "skeletons"},
        ),
        heatmaps=report(
            f"{RESULTS}/figures/{{dataset}}_heatmaps.png",
            category="Predictions",
            caption="../report/heatmaps.rst",
            labels={"dataset": "{dataset}", "figure": "heatmaps"},
        ),
    log:
        f"{RESULTS}/logs/figures/{{dataset}}.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        **WITHOUT_MODEL,
    params:
        code=fingerprints.sha256_of_modules("rspose.reporting.figures"),
        assets=ASSETS,
    script:
        "../scripts/figures.py"


rule localisation:
    """What each loss says of heatmaps of known error, and where it pushes: no data and no training."""
    output:
        losses=f"{RESULTS}/localisation/losses.json",
        pushes=report(
            f"{RESULTS}/localisation/pushes.png",
            category="Localisation",
            caption="../report/pushes.rst",
        ),
    log:
        f"{RESULTS}/logs/localisation.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        **WITHOUT_MODEL,
    params:
        losses=localisation_code,
    script:
        "../scripts/localisation.py"


rule localisation_report:
    input:
        rules.localisation.output.losses,
    output:
        table=f"{RESULTS}/localisation/table.md",
        numbers=f"{RESULTS}/localisation/table.csv",
        figure=report(
            f"{RESULTS}/localisation/figure.png",
            category="Localisation",
            caption="../report/localisation.rst",
        ),
        vector=f"{RESULTS}/localisation/figure.svg",
    log:
        f"{RESULTS}/logs/localisation_report.log",
    conda:
        "../../envs/environment.yaml"
    resources:
        **WITHOUT_MODEL,
    params:
        code=fingerprints.sha256_of_modules("rspose.reporting.localisation"),
    script:
        "../scripts/localisation_report.py"


rule report:
    """One HTML file with everything; it draws the predictions that lie beside the records."""
    input:
        records=all_records(),
        figures=report_figures(),
    output:
        report(f"{RESULTS}/report.html", category="Report", caption="../report/report.rst"),
    log:
        f"{RESULTS}/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    params:
        records=records_folder,
        region=CONFIG.equivalence,
        read=READ,
        code=fingerprints.sha256_of_modules("rspose.reporting.report.page"),
        assets=ASSETS,
    script:
        "../scripts/reporting.py"
