"""The slow proofs of hone.transfer, and what a frozen trunk costs.

python benchmarks/transfer.py heads      # a model of every timm family, every torchvision model: N of N
HONE_LARGEST=0 python benchmarks/transfer.py heads --only timm     # quicker: by shapes and identities alone
python benchmarks/transfer.py trunk      # head-only training against forward plus the head's own step
python benchmarks/transfer.py apply      # what applying a plan costs after each model.train()
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hone.transfer import FreezePlan, apply_freeze, find_head, parameter_groups, replace_head
from hone.transfer.trace import trace_head

CLASSES = 7
LARGEST = int(os.environ.get("HONE_LARGEST", "50_000_000"))  # parameters; a larger model is judged on the meta device


#: What timm calls its smaller models, the smallest first.
SMALL = ("test", "atto", "femto", "pico", "nano", "xxs", "xtiny", "tiny", "xs", "mini", "small", "050", "lite0", "_b0")


def likely_size(name: str) -> tuple[int, int]:
    """A sort key by the words and the first number in a model's name."""
    word = next((place for place, word in enumerate(SMALL) if word in name), len(SMALL))
    number = re.search(r"\d+", name)
    return word, int(number[0]) if number else 0


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # reads a value while it is built
        return build()


def smallest_models() -> Iterator[nn.Module]:
    """The smallest of the three likeliest models of each of timm's modules, for each class; on the meta device."""
    for module in timm.list_modules():
        smallest: dict[str, tuple[int, str, nn.Module]] = {}
        for name in sorted(timm.list_models(module=module), key=likely_size)[:3]:
            model = on_meta(lambda name=name: timm.create_model(name, num_classes=10))
            size = sum(parameter.numel() for parameter in model.parameters())
            smallest[type(model).__name__] = min(
                smallest.get(type(model).__name__, (size, name, model)), (size, name, model)
            )
        yield from (model for _, _, model in smallest.values())


def timm_cases() -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    for model in smallest_models():
        name = model.pretrained_cfg["architecture"]
        size = sum(parameter.numel() for parameter in model.parameters())
        shape = (1, *model.pretrained_cfg["input_size"])
        yield (
            f"timm {name} {size / 1e6:.1f} M",
            model if size > LARGEST else timm.create_model(name, num_classes=10),
            shape,
        )


def torchvision_cases() -> Iterator[tuple[str, nn.Module, tuple[int, ...]]]:
    models = torchvision.models
    for name in models.list_models(models):
        options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        size = 299 if name == "inception_v3" else 224
        yield (
            f"torchvision {name}",
            sized(lambda n=name, o=options: models.get_model(n, weights=None, **o)),
            (2, 3, size, size),
        )
    for name in models.list_models(models.segmentation):
        options = {"weights_backbone": None} | ({} if name.startswith("lraspp") else {"aux_loss": True})
        yield f"torchvision {name}", models.get_model(name, weights=None, **options), (2, 3, 64, 64)
    for name in models.list_models(models.video):
        size = 224 if name.startswith(("mvit", "s3d", "swin3d")) else 112
        yield f"torchvision {name}", models.get_model(name, weights=None), (1, 3, 16, size, size)


def sized(build: Callable[[], nn.Module]) -> nn.Module:
    """The model; on the meta device where it is too large for this machine."""
    model = on_meta(build)
    return model if sum(parameter.numel() for parameter in model.parameters()) > LARGEST else build()


def main_output(result: object) -> Tensor:
    while not isinstance(result, Tensor):
        result = next(iter(result.values())) if isinstance(result, dict) else result[0]  # type: ignore[index]
    return result


def check_head(model: nn.Module, shape: tuple[int, ...]) -> str:
    """An empty string where the law holds; else what fails. On the meta device shapes and identities are judged."""
    heads = find_head(model)
    declared = {head.name for head in heads}
    tried: list[str] = []
    traced = {name for name, _, _ in trace_head(model, torch.empty(shape, device="meta"), tried)}
    if not traced:
        return f"the trace finds nothing: {tried}"
    if not traced <= declared:
        return f"declared {sorted(declared)}, but the output comes from {sorted(traced)}"
    before = dict(model.state_dict(keep_vars=True))
    values = {name: tensor.clone() for name, tensor in before.items() if not tensor.is_meta}
    biases = {head.name: getattr(head.layer, "bias", None) is None for head in heads}
    replace_head(model, CLASSES, seed=0)
    after = model.state_dict(keep_vars=True)
    if list(after) != list(before):
        return "the names of the tensors changed"
    for name, tensor in before.items():
        of_head = any(name.startswith(f"{head}.") for head in declared)
        if not of_head and (after[name] is not tensor or (name in values and not torch.equal(values[name], tensor))):
            return f"{name} changed"
        if of_head and (
            tensor.shape[0] == after[name].shape[0] or (name in values and not after[name].isfinite().all())
        ):
            return f"{name} was not replaced"
    if biases != {head.name: getattr(head.layer, "bias", None) is None for head in heads}:
        return "a bias came or went"
    with torch.no_grad():
        output = main_output(model(torch.zeros(shape, device=next(model.parameters()).device)))
    if CLASSES not in (output.shape[1], output.shape[-1]) or output.shape[0] != shape[0]:
        return f"the output has shape {tuple(output.shape)}"
    return ""


def prove_heads(only: str) -> int:
    failed, total, start = [], 0, time.perf_counter()
    libraries = {"torchvision": torchvision_cases, "timm": timm_cases}
    for library in (name for name in libraries if only.split(" ")[0] in (name, "")):
        for name, model, shape in libraries[library]():
            if only not in name:
                continue
            total += 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    problem = check_head(model.eval(), shape)
                except Exception as error:
                    problem = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
            if problem:
                failed.append(name)
            print(f"{'fails' if problem else 'holds'}  {name}  {problem}", flush=True)
    print(
        f"heads: {total - len(failed)} of {total} in {time.perf_counter() - start:.0f} s; failing: {failed or 'none'}"
    )
    return len(failed) > 0.02 * total


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of two calls, in turn, which comes first changing every round."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        for place, call in ((0, first), (1, second))[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            call()
            if turn >= 2:
                times[place].append(time.perf_counter() - start)
    return times


def report(title: str, first: list[float], second: list[float]) -> float:
    """The median of the paired ratios, and the interval that holds it with 95 % (order statistics)."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    count = len(ratios)
    reach = round(0.98 * count**0.5)
    low, high = ratios[max(0, count // 2 - reach)], ratios[min(count - 1, count // 2 + reach)]
    middle = statistics.median(ratios)
    one, other = (1e3 * statistics.median(times) for times in (first, second))
    print(f"{title}: {one:.1f} ms against {other:.1f} ms, ratio {middle:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    return middle


def measure_trunk(rounds: int) -> int:
    """Head-only training of the whole model against forward in eval without gradients plus the head's own step."""
    worst = 0.0
    for name, batch, size in (("mobilenetv2_100", 16, 160), ("resnet18", 16, 160), ("vit_tiny_patch16_224", 8, 224)):
        torch.manual_seed(0)
        model = replace_head(timm.create_model(name), 5)
        images, labels = torch.randn(batch, 3, size, size), torch.randint(5, (batch,))
        model.train()
        apply_freeze(model, FreezePlan("head"))
        optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-3))
        head = find_head(model)[0].layer
        own = torch.optim.AdamW(head.parameters(), lr=1e-3)
        eval_model = timm.create_model(name).eval()

        def update(model=model, optimizer=optimizer, images=images, labels=labels) -> None:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()

        def floor(model=eval_model, head=head, own=own, images=images, labels=labels) -> None:
            with torch.no_grad():
                features = model.forward_head(model.forward_features(images), pre_logits=True)
            own.zero_grad()
            cross_entropy(head(features), labels).backward()
            own.step()

        def unfrozen(model=eval_model, images=images, labels=labels) -> None:
            cross_entropy(model(images), labels).backward()

        worst = max(worst, report(f"{name}, {batch} x {size} px, head only / floor", *paired(update, floor, rounds)))
        report(
            f"{name}, {batch} x {size} px, all trainable / head only", *paired(unfrozen, update, max(5, rounds // 4))
        )
    print(f"largest ratio {worst:.3f}, to be at most 1.02")
    return worst > 1.02


def measure_apply(rounds: int) -> int:
    for name in ("resnet50", "vit_base_patch16_224", "efficientnet_b0"):
        model = timm.create_model(name)
        start = time.perf_counter()
        apply_freeze(model, FreezePlan("last:2"))
        once = time.perf_counter() - start

        def both(model=model) -> None:
            model.train()
            apply_freeze(model, FreezePlan("last:2"))

        print(f"{name}: the first call {1e3 * once:.1f} ms")
        report(f"{name}: train() and apply_freeze / train() alone", *paired(both, model.train, rounds))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["heads", "trunk", "apply"])
    parser.add_argument("--only", default="", help="the library, or library and part of a model's name (heads)")
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}")
    if options.what == "heads":
        return prove_heads(options.only)
    torch.set_num_threads(1)
    return {"trunk": measure_trunk, "apply": measure_apply}[options.what](options.rounds)


if __name__ == "__main__":
    sys.exit(main())
