"""Draw the predictions and the heatmaps of a dataset."""

from pathlib import Path

from rspose.grid.job import job

with job(snakemake):
    from rspose.grid.record import read_record
    from rspose.reporting.figures import Entry, make_heatmap_sheet, make_sheet

    files = zip(snakemake.input.records, snakemake.input.predictions, snakemake.input.samples, strict=True)
    entries = [
        Entry(read_record(Path(record)), Path(predictions), Path(samples))
        for record, predictions, samples in files
    ]
    dataset = snakemake.wildcards.dataset
    make_sheet(dataset, entries, Path(snakemake.output.predictions))
    make_heatmap_sheet(dataset, entries, Path(snakemake.output.heatmaps))
