"""Make what records are enough for: all of them in one table, the tables, the figures, the report."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    folders, out = [Path(folder) for folder in snakemake.params.records], Path(snakemake.output[0])
    match snakemake.rule:
        case "collect":
            from rspose.reporting.frame import ordered_records, tidy, to_csv

            out.write_text(to_csv(tidy(ordered_records(*folders))), encoding="utf-8")
        case "tables":
            from rspose.reporting.tables import make_tables

            make_tables(folders, out.parent, region=snakemake.params.region)
        case "study":
            from rspose.reporting.study_figures import make_study_figures

            make_study_figures(folders, out, region=snakemake.params.region)
        case "report":
            from rspose.reporting.report.page import make_report

            make_report(folders, out, region=snakemake.params.region)
