"""A head on a frozen trunk, 20 epochs' worth: ``hone fit --strategy probe`` against running the trunk each epoch.

    python benchmarks/probe.py DATA WEIGHTS [EPOCHS]

Every run is a process of its own, at 160 px, batches of 32, centre crops, no loader workers, the peers in fp32 as they
are by default. Each clock runs from the first photo to the last, decoding and evaluations included (a peer's after each
epoch, as their loops do), the imports not. Processor seconds of all threads stand beside, which suffer less from
neighbours: hone's are of the whole process, its imports included. A peer's time is that of 20 epochs; where EPOCHS is
less (a slow machine), 20 times the median of those epochs, and the line says so. fastai and Lightning are left out
where they are not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORTH = 20
SIZE, BATCH = 160, 32


def run_hone(data: str, weights: str, folder: str) -> dict[str, float]:
    """The command as a user starts it, with a cache folder of its own."""
    out = tempfile.mkdtemp(dir=folder) + "/run"
    words = ["fit", data, "--model", "mobilenet_v2", "--weights", weights, "--strategy", "probe", "--out", out]
    environment = {**os.environ, "HONE_CACHE": f"{folder}/cache"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "hone", *words, "--image-size", str(SIZE)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(Path(out, "result.json").read_text())
    return {
        "processor": spent.ru_utime + spent.ru_stime - before.ru_utime - before.ru_stime,
        "accuracy": result["best"]["value"],
        "seconds": result["seconds"],
        "wall": time.perf_counter() - start,
    }


def datasets_of(data: str) -> tuple[Any, Any]:
    """Train and val as every peer sees them."""
    from torchvision import datasets, transforms

    normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    plain = transforms.Compose([transforms.Resize(182), transforms.CenterCrop(SIZE), transforms.ToTensor(), normal])
    return tuple(datasets.ImageFolder(f"{data}/{part}", plain) for part in ("train", "val"))


def frozen_model(weights: str) -> Any:
    """The trunk frozen, batch norms in eval mode, and a new head."""
    import torch
    from torchvision import models

    torch.manual_seed(0)
    model = models.mobilenet_v2()
    model.load_state_dict(torch.load(weights, weights_only=True))
    model.requires_grad_(False)
    model.classifier[1] = torch.nn.Linear(1280, 5)
    return model


def accuracy(model: Any, val: Any) -> float:
    """Over the whole of val."""
    import torch

    model.eval()
    with torch.inference_mode():
        loader = torch.utils.data.DataLoader(val, BATCH)
        return sum(int((model(x).argmax(1) == y).sum()) for x, y in loader) / len(val)


def run_torch(data: str, weights: str, epochs: int) -> dict[str, Any]:
    """The plain loop, the trunk without gradients."""
    import torch

    train, val = datasets_of(data)
    model = frozen_model(weights)
    loader = torch.utils.data.DataLoader(train, BATCH, shuffle=True)
    optimizer = torch.optim.AdamW(model.classifier.parameters(), 1e-3)
    times, processor, best = [], [], 0.0
    for _ in range(epochs):
        start, busy = time.perf_counter(), time.process_time()
        model.eval()
        model.classifier.train()
        for images, target in loader:
            torch.nn.functional.cross_entropy(model(images), target).backward()
            optimizer.step()
            optimizer.zero_grad()
        best = max(best, accuracy(model, val))
        times.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
    return {"epochs": times, "processor": processor, "accuracy": best}


def run_transformers(data: str, weights: str, epochs: int) -> dict[str, Any]:
    """Hugging Face's Trainer on the same model."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = frozen_model(weights)

        def forward(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            self.model.features.eval()
            logits = self.model(images)
            loss = {} if labels is None else {"loss": torch.nn.functional.cross_entropy(logits, labels)}
            return {**loss, "logits": logits}

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.times: list[float] = []
            self.processor: list[float] = []
            self.best = 0.0

        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.start, self.busy = time.perf_counter(), time.process_time()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.best = max(self.best, accuracy(model.model, val))
            self.times.append(time.perf_counter() - self.start)
            self.processor.append(time.process_time() - self.busy)

    train, val = datasets_of(data)
    clock, model = Clock(), Wrapped()
    settings = TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )

    def collate(samples: list[Any]) -> dict[str, torch.Tensor]:
        images, labels = zip(*samples, strict=True)
        return {"images": torch.stack(images), "labels": torch.tensor(labels)}

    Trainer(model, settings, train_dataset=train, data_collator=collate, callbacks=[clock]).train()
    return {"epochs": clock.times, "processor": clock.processor, "accuracy": clock.best}


def run_lightning(data: str, weights: str, epochs: int) -> dict[str, Any]:
    """Lightning's Trainer, the trunk kept in eval mode as its BaseFinetuning does."""
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = frozen_model(weights)
            self.times: list[float] = []
            self.processor: list[float] = []
            self.best = 0.0

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.model.classifier.parameters(), 1e-3)

        def on_train_epoch_start(self) -> None:
            self.start, self.busy = time.perf_counter(), time.process_time()
            self.model.features.eval()

        def on_train_epoch_end(self) -> None:
            self.best = max(self.best, accuracy(self.model, val))
            self.model.train()
            self.times.append(time.perf_counter() - self.start)
            self.processor.append(time.process_time() - self.busy)

    train, val = datasets_of(data)
    loader, module = torch.utils.data.DataLoader(train, BATCH, shuffle=True), Module()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    lightning.Trainer(max_epochs=epochs, accelerator="cpu", **quiet).fit(module, loader)
    return {"epochs": module.times, "processor": module.processor, "accuracy": module.best}


def run_fastai(data: str, weights: str, epochs: int) -> dict[str, Any]:
    """fastai's Learner, frozen, with its own data loading."""
    import torch
    from fastai.callback.core import Callback
    from fastai.callback.progress import ProgressCallback
    from fastai.data.transforms import Normalize
    from fastai.learner import Learner, defaults
    from fastai.metrics import accuracy as right
    from fastai.vision.augment import Resize
    from fastai.vision.data import ImageDataLoaders, imagenet_stats

    class Clock(Callback):
        def __init__(self) -> None:
            self.times: list[float] = []
            self.processor: list[float] = []

        def before_epoch(self) -> None:
            self.start, self.busy = time.perf_counter(), time.process_time()

        def after_epoch(self) -> None:
            self.times.append(time.perf_counter() - self.start)
            self.processor.append(time.process_time() - self.busy)

    loaders = ImageDataLoaders.from_folder(
        data,
        valid="val",
        item_tfms=Resize(SIZE),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
        bs=BATCH,
        num_workers=0,
        device=torch.device("cpu"),
    )
    clock = Clock()
    defaults.callbacks = [each for each in defaults.callbacks if each is not ProgressCallback]
    learner = Learner(
        loaders,
        frozen_model(weights).requires_grad_(True),
        loss_func=torch.nn.CrossEntropyLoss(),
        splitter=lambda model: [list(model.features.parameters()), list(model.classifier.parameters())],
        metrics=right,
        cbs=[clock],
        train_bn=False,
    )
    learner.freeze()
    learner.logger = lambda values: None
    learner.fit(epochs, 1e-3)
    best = max(row[2] for row in learner.recorder.values)
    return {"epochs": clock.times, "processor": clock.processor, "accuracy": best}


PEERS = {"torch": run_torch, "transformers": run_transformers, "lightning": run_lightning, "fastai": run_fastai}


def main(data: str, weights: str, epochs: int) -> None:
    """Run them one after another and print the ratios."""
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print("not installed:", [n for n in ("fastai", "lightning") if importlib.util.find_spec(n) is None] or "none")
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_hone(data, weights, folder) for _ in range(2)]
    for name, run in zip(("hone, first", "hone, second"), runs, strict=True):
        print(
            f"{name}: {run['seconds']:.1f} s (process {run['wall']:.1f} s, processor {run['processor']:.1f} s), "
            f"accuracy {run['accuracy']:.3f}",
            flush=True,
        )
    for name in PEERS:
        if importlib.util.find_spec(name) is None:
            continue
        command = [sys.executable, __file__, name, data, weights, str(epochs)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        seconds, processor = (worth(found[key]) for key in ("epochs", "processor"))
        how = f"{epochs} epochs" if epochs == WORTH else f"{WORTH} x the median of {epochs} epochs"
        first, second = runs
        print(f"{name}: {seconds:.1f} s, processor {processor:.1f} s ({how}), accuracy {found['accuracy']:.3f}")
        print(
            f"  {seconds / first['seconds']:.1f} x hone's first by the clock, {processor / first['processor']:.1f} x "
            f"by the processor; {seconds / second['seconds']:.0f} x its second by the clock",
            flush=True,
        )


def worth(times: list[float]) -> float:
    """The time of 20 epochs."""
    return sum(times) if len(times) == WORTH else WORTH * statistics.median(times)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PEERS:
        print(json.dumps(PEERS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    elif len(sys.argv) >= 3:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else WORTH)
    else:
        sys.exit(__doc__)
