"""The slow proofs of the frozen-feature cache: many architectures, and its bounds on disk and in memory.

python benchmarks/feature_cache.py architectures [--only NAME]   # logits and gradients equal to the bit: N of N
python benchmarks/feature_cache.py bounds                        # 50,000 images, 256 MB of features
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from hone.transfer import CannotCacheError, FeatureCache, FreezePlan, Splice, apply_freeze, find_cut, replace_head

TORCHVISION = (
    "resnet18 mobilenet_v2 mobilenet_v3_small densenet121 squeezenet1_1 shufflenet_v2_x0_5 mnasnet0_5 regnet_y_400mf "
    "efficientnet_b0 vgg11_bn alexnet googlenet convnext_tiny swin_t vit_b_16 maxvit_t"
)
TIMM = (
    "resnet10t mobilenetv2_050 efficientnet_lite0 vit_tiny_patch16_224 deit_tiny_patch16_224 "
    "swin_tiny_patch4_window7_224 convnext_atto mobilenetv3_small_050 regnetx_002 ghostnet_050 mixer_s32_224 "
    "resmlp_12_224 xcit_nano_12_p16_224 pit_ti_224 levit_128s mobilevit_xxs edgenext_xx_small efficientformer_l1 "
    "poolformer_s12 coat_tiny crossvit_tiny_240 dla46_c hardcorenas_a repvgg_a0 tf_efficientnetv2_b0 lcnet_035 "
    "beit_base_patch16_224 eva02_tiny_patch14_224 maxvit_rmlp_pico_rw_256 vit_tiny_r_s16_p8_224"
)
#: Networks that take any size run on small photos.
FIXED = ("vit", "deit", "mixer", "mlp", "levit", "coat", "former", "pit", "beit", "eva", "swin", "cross", "maxvit")
PLANS = ("head", "last:2")


def networks(only: str) -> Iterator[tuple[str, nn.Module, int]]:
    """Names, networks with random weights, and the side of the input."""
    for name in (name for name in TORCHVISION.split() if only in name):
        options = {"init_weights": False} if name == "googlenet" else {}
        model = torchvision.models.get_model(name, weights=None, **options)
        yield f"torchvision {name}", model, 224 if name in ("vit_b_16", "maxvit_t") else 64
    for name in (name for name in TIMM.split() if only in name):
        model = timm.create_model(name)
        yield f"timm {name}", model, model.pretrained_cfg["input_size"][1] if any(k in name for k in FIXED) else 64


def result(model: nn.Module, inputs: object) -> list[torch.Tensor]:
    """Logits and all gradients of one update, the buffers as before."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    torch.manual_seed(3)
    logits = model(inputs)
    logits = logits if isinstance(logits, torch.Tensor) else logits[0]
    cross_entropy(logits, torch.arange(4)).backward()
    found = [logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    model.zero_grad(set_to_none=True)
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])
    return found


def check(model: nn.Module, side: int, plan: str) -> str:
    """What the cut stores, or what is wrong; a refusal is told from a wrong result."""
    apply_freeze(model.train(), FreezePlan(plan))
    start = time.perf_counter()
    try:
        cut = find_cut(model, torch.randn(6, 3, side, side))
    except CannotCacheError as error:
        return f"refused: {error}"
    seconds = time.perf_counter() - start
    splice, photos = Splice(model, cut), torch.randn(4, 3, side, side)
    whole, cached = result(model, photos), result(model, splice.features(photos))
    splice.remove()
    if len(whole) != len(cached) or not all(torch.equal(a, b) for a, b in zip(whole, cached, strict=True)):
        return "WRONG: not the same bits"
    return f"equal; stores {', '.join('x'.join(map(str, s.sizes)) for s in cut.slots)}; found in {seconds:.1f} s"


def architectures(only: str) -> int:
    """Print a line each and the count; 1 if anything was wrong."""
    lines = []
    for name, model, side in networks(only):
        torch.manual_seed(0)
        replace_head(model, 5, seed=0)
        for plan in PLANS:
            lines.append(check(model, side, plan))
            print(f"{name:<42} {plan:<7} {lines[-1]}", flush=True)
    equal = sum(line.startswith("equal") for line in lines)
    print(f"{equal} of {len(lines)} equal to the bit, {sum(line.startswith('refused') for line in lines)} refused")
    return any(line.startswith("WRONG") for line in lines)


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1]) / 1000


def bounds() -> int:
    """Features of 50,000 made images through a small network, then a hundred updates' worth of batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 1280, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 5)).train()
    apply_freeze(model, FreezePlan("head"))
    count, budget = 50_000, 300_000_000
    photo = torch.randn(1, 3, 4, 4)
    with tempfile.TemporaryDirectory() as folder:
        for turn in ("first data set", "second data set"):
            cache = FeatureCache(model, folder, budget=budget)
            batches = [((photo * (1 + start)).expand(250, 3, 4, 4),) for start in range(0, count, 250)]
            before, start = anonymous_mb(), time.perf_counter()
            features = cache.features(batches, count=count, data=turn)
            for _ in range(100):
                model(features[torch.randint(count, (256,))])
            held = sum(file.stat().st_size for file in Path(folder).iterdir())
            print(
                f"{turn}: {held / 1e6:.0f} MB on disk of {budget / 1e6:.0f} allowed, "
                f"memory {anonymous_mb() - before:+.0f} MB, {time.perf_counter() - start:.1f} s"
            )
            cache.remove()
            if held > budget:
                return 1
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["architectures", "bounds"])
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, timm {timm.__version__}, torchvision {torchvision.__version__}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return architectures(options.only) if options.what == "architectures" else bounds()


if __name__ == "__main__":
    sys.exit(main())
