"""The curves of a run: its metrics drawn as curves.png."""

from pathlib import Path

from finetune.train.metrics import read_metrics

# One panel each: its title and the metrics drawn in it.
_PANELS = (
    ("loss", ("loss", "eval_loss")),
    ("learning rate", ("learning_rate",)),
    ("tokens/s", ("tokens_per_second",)),
    ("rewards", ("rewards/chosen", "rewards/rejected")),
    ("log-probabilities", ("logps/chosen", "logps/rejected")),
    ("margin", ("rewards/margins", "eval_rewards/margins")),
    ("accuracy", ("rewards/accuracies", "eval_rewards/accuracies", "mean_token_accuracy")),
    ("KL to the reference, on the data", ("kl", "eval_kl")),
    ("answer tokens", ("lengths/chosen", "lengths/rejected")),
)


def draw_curves(folder: Path) -> Path | None:
    """Draw a run's metrics and return the path of curves.png; None when nothing was logged."""
    lines = read_metrics(folder)
    panels = [(title, keys) for title, keys in _PANELS if any(key in line for line in lines for key in keys)]
    if not panels:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.5 * columns, 3 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (title, keys) in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        for key in keys:
            points = [(line["step"], line[key]) for line in lines if key in line]
            if points:
                axes.plot(*zip(*points, strict=True), label=key, marker="." if len(points) < 30 else None)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.legend(fontsize="small")
    figure.savefig(folder / "curves.png", dpi=100)
    return folder / "curves.png"
