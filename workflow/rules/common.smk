"""Paths and the inputs that depend on the grid."""

CELL = "{dataset}/{model}/{head}/{loss}/seed{seed}"


def is_generated(dataset):
    return "generate" in config["data"][dataset]


def dataset_files(wildcards):
    """What stands for a dataset in the graph: the manifest of a generated one, the annotations of a real one."""
    root = Path(config["data"][wildcards.dataset]["root"])
    if is_generated(wildcards.dataset):
        return str(root / "manifest.json")
    return [str(root / name) for name in annotation_files(wildcards.dataset)]


def check_real_datasets():
    for dataset in config["datasets"]:
        if is_generated(dataset):
            continue
        for problem in check_dataset(Path(config["data"][dataset]["root"]), dataset):
            sys.exit(f"error: {problem}")


def initial_weights(wildcards):
    if "initial_weights" in config["model_settings"][wildcards.model]:
        return f"{RESULTS}/work/initial_weights/{wildcards.model}.pth"
    return []


def records_folder(wildcards):
    """Where collect and tables look: the folder may hold records of other grids too, which join the tables."""
    return f"{RESULTS}/records"


def cells_of_dataset(wildcards):
    """The cells whose predictions are drawn: those of the first seed."""
    return [cell for cell in CELLS if cell.dataset == wildcards.dataset and cell.seed == config["seeds"][0]]


def figure_sheets():
    return expand(
        f"{RESULTS}/figures/{{dataset}}_{{kind}}.png",
        dataset=config["datasets"],
        kind=["predictions", "heatmaps"],
    )


def records():
    controls = CONTROLS if config["controls"] else ()
    return [f"{RESULTS}/records/{cell.path}.json" for cell in CELLS] + [
        f"{RESULTS}/records/{dataset}/control/{control}.json"
        for dataset in config["datasets"]
        for control in controls
    ]
