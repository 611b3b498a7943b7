"""Print the main table of the records of one dataset."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake) as terminal:
    from rspose.reporting.markdown import to_markdown
    from rspose.reporting.results import read_results
    from rspose.reporting.tables import main_table

    results = read_results([Path(snakemake.params.records)], region=snakemake.params.region)
    table = to_markdown(main_table(results))
    Path(snakemake.output[0]).write_text(table, encoding="utf-8")
    print(f"\n{table}", file=terminal)
