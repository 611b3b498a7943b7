"""Paths and the inputs that depend on the grid."""

CELL = "{dataset}/{model}/{head}/{loss}/seed{seed}"


def hours_of(variable, otherwise, most=1e6):
    """A number of hours from the environment."""
    given = os.environ.get(variable, otherwise)
    try:
        hours = float(given)
    except ValueError:
        hours = 0
    if not 0 < hours <= most:
        sys.exit(f"error: {variable}: expected a number of hours above 0, found {given!r}")
    return hours


# What only the user of a cluster knows (docs/cluster.md). A job that asks for more than its partition allows never starts.
TRAINING_HOURS = hours_of("RSPOSE_SLURM_HOURS", "24")
LONGEST_HOURS = hours_of("RSPOSE_SLURM_MAX_HOURS", "inf", float("inf"))


def minutes(hours, jobs=1):
    """The time a job asks a cluster for: more in each attempt. A group asks for the sum of its ``jobs``."""
    return lambda wildcards, attempt: int(60 * min(hours * attempt, LONGEST_HOURS / jobs))


def megabytes(first):
    """The memory a job asks a cluster for: more in each attempt."""
    return lambda wildcards, attempt: first * attempt


def attempt_number(wildcards, attempt):
    """Tells a job which attempt it is: only resources are told."""
    return attempt


def priority_of(dataset):
    """Higher for a dataset that the config names earlier, whose table is then there early."""
    return 2 * (len(CONFIG.read_datasets) - CONFIG.read_datasets.index(dataset))


def by_dataset(after_training):
    """A dataset named earlier comes first; in it, what follows a training comes before further trainings."""
    return lambda wildcards: priority_of(wildcards.dataset) + after_training


WITHOUT_MODEL = {"mem_mb": megabytes(4000), "runtime": minutes(1)}
# Of a group of two.
SCORE = {"mem_mb": megabytes(4000), "runtime": minutes(0.5, jobs=2), "attempt": attempt_number}


def control_memory(wildcards, attempt):
    """What a control asks for: it reads the training file too, which takes more the more keypoints it has."""
    keypoints = len(DATASETS[wildcards.dataset].keypoints)
    return megabytes(max(4000, 65 * keypoints))(wildcards, attempt)


def is_generated(dataset):
    return CONFIG.data[dataset].generate is not None


def data_root(dataset):
    return CONFIG.data[dataset].folder


# Real files go by what they hold: one that was only touched, moved or taken away makes nothing again.
DIGESTS = Digests(Path(RESULTS, "work/digests.json"))


def drawing(wildcards):
    """What stands for a drawn dataset in the graph. Real ones are there, and go by their contents."""
    return CONFIG.dataset_files(wildcards.dataset) if is_generated(wildcards.dataset) else []


def contents(*uses):
    """Checksums of the files of a real dataset that are used in these ways; the settings of a drawn one decide its bytes.

    A file that is not there has its last known checksum, so that finished cells stay finished (see check_real_datasets).
    """

    def checksums(wildcards):
        chosen = CONFIG.data[wildcards.dataset].least_keypoints if "train" in uses else None
        if is_generated(wildcards.dataset):
            return chosen
        entry = CONFIG.data[wildcards.dataset]
        files = CONFIG.dataset_files(wildcards.dataset, *uses)
        # By the place that the config names, wherever RSPOSE_DATA moves it.
        digests = [DIGESTS.of(file, str(entry.root / file.relative_to(entry.folder))) for file in files]
        return digests + ([chosen] if chosen else [])

    return checksums


def others(problems, command):
    return f" ({len(problems)} other problems: {command} lists them)" if problems else ""


def starts_from_weights(model):
    """Whether a backbone may start from weights of a file: to be sure takes seconds, which go into importing mmpose."""
    settings = CONFIG.model_settings[model]
    backbone = settings.overrides.get("model", {}).get("backbone", {})
    random = "_delete_" in backbone and "init_cfg" not in backbone
    return settings.pretrained != "none" and not (settings.pretrained is None and random)


def pretrained_contents(wildcards):
    """Checksum of the weights that a cell's backbone starts from; None for random ones."""
    if not starts_from_weights(wildcards.model):
        return None
    from rspose.training.pretrained import pretrained  # it may ask mmpose, and tables need none

    weights = pretrained(CONFIG, wildcards.model, wildcards.head)
    return weights and DIGESTS.of(weights.file, f"{wildcards.model}/{wildcards.head}")


def check_real_datasets():
    errors = []
    for dataset in CONFIG.read_datasets:
        # Tables are made from records alone, without the data.
        recorded = (
            all(Path(record).is_file() for record in records(dataset))
            if dataset in CONFIG.datasets
            else not CONFIG.unfinished()
        )
        if is_generated(dataset) or (recorded and not data_root(dataset).is_dir()):
            continue
        found = check_dataset_once(
            data_root(dataset),
            dataset,
            Path(RESULTS, "work/checked", dataset),
            CONFIG.data[dataset].least_keypoints,
        )
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        if found.problems:
            command = ["rspose", "data", "check", str(data_root(dataset)), "--dataset", dataset]
            least = CONFIG.data[dataset].least_keypoints
            command += ["--least-keypoints", str(least)] if least else []
            more = others(found.problems[1:], shlex.join(command))
            errors.append(f"error: {found.problems[0]}{more}")
        elif read_manifest(data_root(dataset)) is not None:
            print(f"note: {data_root(dataset)}: drawn, where the config asks for real data", file=sys.stderr)
    if errors:
        sys.exit("\n".join(errors))


def check_pretrained_weights():
    untrained = [
        cell
        for cell in CONFIG.unfinished()
        if not Path(f"{RESULTS}/cells/{cell.path}/checkpoint.pth").is_file()
    ]
    with_weights = [cell for cell in untrained if starts_from_weights(cell.model)]
    if with_weights:
        # not above: tables of records need no torch
        from rspose.training.pretrained import missing_weights, unfit_weights

        missing = missing_weights(CONFIG, with_weights)
        if missing:
            sys.exit(f"error: {missing[0].problem()}{others(missing[1:], 'rspose plan CONFIG')}")
        problem = unfit_weights(CONFIG, with_weights, Path(RESULTS, "work/weights.json"))
        if problem:
            sys.exit(f"error: {problem}")
    in_bfloat16 = any(CONFIG.training_of(cell).precision == "bfloat16" for cell in untrained)
    if in_bfloat16 and workflow.local_exec and not gpus(None):
        from rspose.training.precision import slow_precision

        note = slow_precision()
        if note:
            print(f"note: {note}", file=sys.stderr)


def training_of(wildcards):
    """How a cell, or a trial, which has a seed of its own, is trained."""
    is_trial = hasattr(wildcards, "trial")
    return CONFIG.training_of(tuning.tuned_cell(CONFIG, wildcards) if is_trial else Cell.of(wildcards))


def devices(wildcards):
    """Processes that train a cell together, on a device each."""
    return training_of(wildcards).devices


def gpus_for_training(wildcards):
    """GPUs of a job that trains a cell, in places: a cell that trains on several takes all of each."""
    number = devices(wildcards)
    places = CONFIG.cells_per_gpu if number > 1 and workflow.local_exec else 1
    return gpus(wildcards) * number * places


def training_memory(wildcards, attempt):
    return megabytes(16000)(wildcards, attempt) * devices(wildcards)


def training_threads(wildcards):
    """CPU threads of a job that trains a cell, in all of its processes."""
    return devices(wildcards) * training_of(wildcards).threads


def gpus(wildcards):
    """GPUs of a job that runs a model on one device: on this machine, a place on one.

    Where the config leaves the choice to the machine, a cluster's job asks for one: the login node may have none.
    """
    device = CONFIG.training.device
    if device == "auto" and workflow.local_exec:
        import torch  # here, since tables of finished records are made without it

        return int(torch.cuda.is_available())
    return int(device != "cpu")


TRAINED = {
    "nodes": 1,  # the processes of a cell exchange gradients within a machine
    "gpu": gpus_for_training,
    "mem_mb": training_memory,
    "runtime": minutes(TRAINING_HOURS),
    "attempt": attempt_number,
}


def initial_weights(wildcards):
    if CONFIG.model_settings[wildcards.model].initial_weights:
        return f"{RESULTS}/work/initial_weights/{wildcards.model}.pth"
    return []


def trials(wildcards):
    """The trials of a loss; none where it was chosen before."""
    if tuning.kept(CONFIG, tuning.tuned_cell(CONFIG, wildcards)):
        return []
    place = f"{RESULTS}/tuning/{wildcards.dataset}/{wildcards.model}/{wildcards.head}/{wildcards.loss}"
    return [f"{place}/trial{number}.json" for number in range(CONFIG.tuning.trials)]


def choice(wildcards):
    """What was chosen for the loss of a cell, where losses are tuned."""
    return f"{tuning.folder(CONFIG, Cell.of(wildcards))}/choice.json" if CONFIG.tuning else []


def localisation_code(wildcards):
    """Fingerprint of the losses and of the maps that they are shown."""
    # here, since it brings torch, and tables of finished records are made without
    from rspose.tools.localisation import localisation_fingerprint

    return localisation_fingerprint(CONFIG)


def records_folder(wildcards):
    """Where collect and tables look: the folder may hold records of other grids too, which join the tables."""
    return [str(folder) for folder in CONFIG.records] or [f"{RESULTS}/records"]


def first_records_folder(wildcards):
    """Where the records of the first dataset lie, whose table is printed first."""
    return f"{RESULTS}/records/{CONFIG.datasets[0]}"


def drawn_cells(dataset):
    """The cells whose predictions are drawn: those of the first seed, trained longest."""
    drawn = CONFIG.seeds[0], max(CONFIG.lengths)
    return [cell for cell in CELLS if cell.dataset == dataset and (cell.seed, cell.length) == drawn]


def of_drawn_cells(path):
    """A file of each of them; ``path`` has the cell's in braces."""
    return lambda wildcards: [
        f"{RESULTS}/{path.format(cell.path)}" for cell in drawn_cells(wildcards.dataset)
    ]


def figure_sheets(*kinds):
    """Sheets of the grid's predictions, made without training again; records alone have none.

    A dataset whose cells are recorded but kept no samples, as where their records were copied, has no sheet.
    """
    drawn = [
        dataset
        for dataset in ([] if CONFIG.records else CONFIG.datasets)
        if all(
            Path(f"{RESULTS}/cells/{cell.path}/samples.npz").is_file()
            or not Path(f"{RESULTS}/records/{cell.path}.json").is_file()
            for cell in drawn_cells(dataset)
        )
    ]
    return expand(f"{RESULTS}/figures/{{dataset}}_{{kind}}.png", dataset=drawn, kind=kinds)


def report_figures():
    """What the report shows beside the tables."""
    if CONFIG.records:
        return []
    return [
        *rules.localisation.output,
        rules.localisation_report.output.vector,
        *figure_sheets("heatmaps"),
    ]


def records(dataset):
    """Records of the cells and the controls of a dataset."""
    controls = CONTROLS if CONFIG.controls else ()
    return [f"{RESULTS}/records/{cell.path}.json" for cell in CELLS if cell.dataset == dataset] + [
        f"{RESULTS}/records/{dataset}/control/{control}.json" for control in controls
    ]


def all_records():
    """Records of the grid, or those of the folders that the config names instead."""
    if CONFIG.records:
        try:
            return [str(file) for file in record_files(*CONFIG.records)]
        except FileNotFoundError as error:
            sys.exit(f"error: {error}")
    return [record for dataset in CONFIG.datasets for record in records(dataset)]
