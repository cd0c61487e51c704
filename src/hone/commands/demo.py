"""``hone demo``: the four steps of transfer on real data that a dependency ships, scikit-learn's digits.

1. pretrain a source network on digits 0-4;
2. build the target network, and copy every layer but the output layer;
3. give it a new output layer, initialised at random;
4. train it on digits 5-9, ten labelled images a class.

The same small budget is spent in three ways: on the whole target network, on its head alone, and on the same network
from scratch; longer budgets show where training from scratch catches up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from hone.commands.arguments import Parser
from hone.commands.console import duration, say
from hone.data import batches_from
from hone.losses import CrossEntropyLoss
from hone.report import Arm, DemoResult, catch_up, write_demo_report
from hone.schedules import CosineAnnealingLR, bind_schedule, warmup
from hone.training import updates
from hone.transfer import FreezePlan, apply_freeze, copy_weights, parameter_groups, replace_head

LABELLED = 10
BUDGET = 20
BUDGETS = (5, 10, BUDGET, 40, 80)
SEEDS = 5
PRETRAIN_UPDATES = 150
LR = 3e-3
ARMS = {
    "fine-tuned": "source weights, new head, everything trains",
    "head only": "source weights, new head, only the head trains",
    "from scratch": "the same network, random weights",
}


@dataclass(frozen=True)
class Task:
    """Images (N, 1, 8, 8) in 0..1 and labels (N,) counted from 0, to learn from and to test on."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def main(words: Sequence[str]) -> int:
    """Run ``hone demo WORDS``."""
    parser = Parser("demo", (__doc__ or "").replace("``", ""))
    parser.add_argument("--out", default="runs/demo", metavar="FOLDER", help="where the page goes (runs/demo)")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help=f"repetitions ({SEEDS})")
    found = parser.parse_args(words)
    say("source", "scikit-learn's digits 0-4: pretrain a small convolutional network")
    say("target", f"digits 5-9, {LABELLED} labelled images a class, {BUDGET} updates; {found.seeds} seeds")
    demo = run_demo(found.seeds)
    say_results(demo)
    folder = Path(found.out)
    folder.mkdir(parents=True, exist_ok=True)
    page = write_demo_report(folder / "report.html", demo)
    say("report", f"{page}  ({duration(demo.seconds)})")
    return 0


def run_demo(seeds: int = SEEDS) -> DemoResult:
    """Spend every budget in every way, over several seeds.

    Args:
        seeds: repetitions, each with its own source network and its own labelled images.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small are slower on several threads
    try:
        return _run_demo(seeds)
    finally:
        torch.set_num_threads(threads)


def _run_demo(seeds: int) -> DemoResult:
    start = time.monotonic()
    accuracy: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
    sources: list[float] = []
    for seed in range(seeds):
        source_task, target_task = split_digits(seed)
        source = network(5, seed)
        train(source, source_task, PRETRAIN_UPDATES, seed)
        sources.append(accuracy_on(source, source_task))
        for arm, rows in accuracy.items():
            rows.append(list(_budgets(arm, source, target_task, seed)))
    source_task, target_task = split_digits(0)
    checkpoints = [0, *BUDGETS]
    arms = {arm: Arm(arm, rows, ARMS[arm]) for arm, rows in accuracy.items()}
    goal, _ = arms["fine-tuned"].at(checkpoints.index(BUDGET))
    return DemoResult(
        updates=checkpoints,
        budget=BUDGET,
        arms=list(arms.values()),
        labelled=LABELLED,
        catch_up=catch_up(checkpoints, accuracy["from scratch"], goal),
        source_accuracy=sum(sources) / len(sources),
        examples=_pictures(target_task, 5),
        source_examples=_pictures(source_task, 0),
        seconds=time.monotonic() - start,
    )


def _budgets(arm: str, source: nn.Module, task: Task, seed: int) -> Iterator[float]:
    """Test accuracy before training, and after each budget spent anew from the start."""
    yield accuracy_on(target_network(arm, source, seed), task)
    for budget in BUDGETS:
        model = target_network(arm, source, seed)
        train(model, task, budget, seed, FreezePlan("head" if arm == "head only" else "all"))
        yield accuracy_on(model, task)


def network(classes: int, seed: int) -> nn.Sequential:
    """Three convolutions with batch norm, and a linear output layer, for 8x8 images."""
    torch.manual_seed(seed)

    def block(inputs: int, outputs: int) -> nn.Sequential:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

    # The pooling leaves 8x8 images as they are here, and lets the network take any size.
    return nn.Sequential(
        block(1, 16),
        block(16, 32),
        nn.MaxPool2d(2),
        block(32, 32),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, classes),
    )


def target_network(arm: str, source: nn.Module, seed: int) -> nn.Module:
    """Steps 2 and 3: the same network, every layer but the output layer copied, the output layer new."""
    model = network(5, seed + 1_000)
    if arm != "from scratch":
        copy_weights(model, source.state_dict(), skip=("head",))
        replace_head(model, 5, seed=seed)
    return model


def train(model: nn.Module, task: Task, total_updates: int, seed: int, plan: FreezePlan | None = None) -> None:
    """Step 4: AdamW with a short warm-up and a cosine to 0, in batches of at most 32."""
    plan = plan or FreezePlan("all")
    apply_freeze(model, plan)
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=LR, weight_decay=0.01))
    batches = batches_from(TensorDataset(*task.train), batch_size=min(32, len(task.train[1])), seed=seed)
    schedule = bind_schedule(
        warmup(max(1, total_updates // 10)) >> CosineAnnealingLR(), total_updates, batches.updates_per_epoch, base_lr=LR
    )
    loop = updates(
        model,
        CrossEntropyLoss(),
        optimizer,
        batches.batches,
        total_updates=total_updates,
        schedule=schedule,
        plan=plan,
        seed=seed,
    )
    for _ in loop:
        pass


@torch.inference_mode()
def accuracy_on(model: nn.Module, task: Task) -> float:
    """Share of the test images that the model names rightly."""
    images, labels = task.test
    return float((model.eval()(images).argmax(1) == labels).float().mean())


def split_digits(seed: int) -> tuple[Task, Task]:
    """The source task (digits 0-4, four fifths to learn from) and the target task (5-9, ten a class to learn from)."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(seed)

    def task(first: int, per_class: float) -> Task:
        train_rows: list[Tensor] = []
        test_rows: list[Tensor] = []
        for digit in range(first, first + 5):
            rows = (labels == digit).nonzero()[:, 0]
            rows = rows[torch.randperm(len(rows), generator=generator)]
            count = round(per_class * len(rows)) if per_class < 1 else int(per_class)
            train_rows.append(rows[:count])
            test_rows.append(rows[count:])
        (a, b) = (torch.cat(train_rows), torch.cat(test_rows))
        return Task((images[a], labels[a] - first), (images[b], labels[b] - first))

    return task(0, 0.8), task(5, LABELLED)


def say_results(demo: DemoResult) -> None:
    """Mean and spread of each way, and what longer budgets do."""
    say("result", f"test accuracy after {demo.budget} updates, mean and standard deviation of {demo.seeds} seeds")
    for arm in demo.arms:
        mean, spread = demo.final(arm.name)
        say("", f"{arm.name:<13} {mean:.3f} ± {spread:.3f}   {arm.description}")
    if demo.catch_up is None:
        say("honestly", f"from scratch has not caught up after {demo.updates[-1]} updates")
    else:
        say(
            "honestly", f"from scratch needs {demo.catch_up} updates to reach what fine-tuning reached in {demo.budget}"
        )


def _pictures(task: Task, first: int) -> list[tuple[list[list[float]], str]]:
    images, labels = task.train
    places = [int((labels == label).nonzero()[k]) for label in range(5) for k in range(2)]
    return [(images[place, 0].tolist(), str(int(labels[place]) + first)) for place in places]
