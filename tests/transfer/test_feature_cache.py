"""Cached training against the same training without a cache: the same bits, at any depth, and never a stale one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hone.transfer import FreezePlan, apply_freeze, parameter_groups, replace_head
from hone.transfer.boundary import CannotCacheError, find_cut
from hone.transfer.cut import Shape
from hone.transfer.feature_cache import FeatureCache
from hone.transfer.feature_store import Layout, NoRoomError, StoredFeatures, write_features
from hone.transfer.fingerprint import fingerprint
from hone.transfer.splice import Features, Splice

CLASSES, PHOTOS, BATCH = 4, 10, 4

#: Twenty architectures of as many kinds: name -> (build, side of the input).
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    name: (lambda name=name: torchvision.models.get_model(name, weights=None), 48)
    for name in (
        "resnet18",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "squeezenet1_1",
        "shufflenet_v2_x0_5",
        "mnasnet0_5",
        "regnet_y_400mf",
        "densenet121",
    )
} | {
    f"timm {name}": (lambda name=name, options=options: timm.create_model(name, **options), side)
    for name, side, options in (
        ("efficientnet_lite0", 48, {}),
        ("mobilenetv3_small_050", 48, {}),
        ("convnext_atto", 48, {}),
        ("ghostnet_050", 48, {}),
        ("lcnet_035", 48, {}),
        ("dla46_c", 64, {}),
        ("edgenext_xx_small", 64, {}),
        ("mobilevit_xxs", 64, {}),
        ("vit_tiny_patch16_224", 48, {"img_size": 48, "depth": 4}),
        ("mixer_s32_224", 64, {"img_size": 64}),
        ("pit_ti_224", 64, {"img_size": 64}),
        ("xcit_nano_12_p16_224", 48, {"img_size": 48}),
    )
}


def small(width: int = 6) -> nn.Module:
    """Batch norm, dropout on both sides of the boundary, a residual branch: what a cache could get wrong."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Dropout(0.2)),
        Residual(width),
        Residual(width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(width, CLASSES),
    )


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.conv(x)).relu_()


def frozen(model: nn.Module, train: str = "head") -> nn.Module:
    model.train()
    apply_freeze(model, FreezePlan(*train.split(",")))
    return model


def photos(side: int = 16, count: int = PHOTOS) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def cached(model: nn.Module, data: Tensor, folder: Path, *, budget: int = 10**8, half: bool = False) -> StoredFeatures:
    cache = FeatureCache(model, folder, budget=budget, half=half)
    return stored(cache, data)


def stored(cache: FeatureCache, data: Tensor) -> StoredFeatures:
    return cache.features([(part,) for part in data.split(BATCH)], count=len(data), data=fingerprint(data))


def note(model: nn.Module, data: Tensor, folder: Path, *, half: bool = False) -> str:
    cache = FeatureCache(model, folder, budget=10**8, half=half)
    stored(cache, data)
    return cache.notes[-1]


def train(model: nn.Module, train: str, inputs: Callable[[Tensor], Any], updates: int = 3) -> dict[str, Tensor]:
    """A few updates on drawn batches; the weights and buffers at the end."""
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-2, weight_decay=0.01))
    order = torch.Generator().manual_seed(5)
    for update in range(updates):
        rows = torch.randperm(PHOTOS, generator=order)[:BATCH]
        frozen(model, train)
        torch.manual_seed(update)  # of dropout, as the loop seeds it
        logits = model(inputs(rows))
        cross_entropy(logits if isinstance(logits, Tensor) else logits[0], rows % CLASSES).backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("plan", ["head", "last:1", "last:2,!norm", "head,1.norm.*"])
def test_training_from_the_cache_is_training(plan: str, tmp_path: Path) -> None:
    data = photos()
    expected = train(small(), plan, lambda rows: data[rows])
    model = frozen(small(), plan)
    features = cached(model, data, tmp_path)
    found = train(model, plan, lambda rows: features[rows])
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert not torch.equal(expected["6.weight"], small().state_dict()["6.weight"])


def test_a_cache_of_other_photos_would_be_noticed(tmp_path: Path) -> None:
    data = photos()
    model = frozen(small())
    features = cached(model, data.flip(0), tmp_path)
    expected = train(small(), "head", lambda rows: data[rows])
    assert not torch.equal(train(model, "head", lambda rows: features[rows])["6.weight"], expected["6.weight"])


@pytest.mark.parametrize(
    ("name", "plan"),
    [(name, "last:2") for name in ARCHITECTURES]
    + [(name, "head") for name in ("mobilenet_v2", "densenet121", "timm pit_ti_224", "timm xcit_nano_12_p16_224")],
)
def test_twenty_architectures_at_depth(name: str, plan: str) -> None:
    build, side = ARCHITECTURES[name]
    torch.manual_seed(0)
    model = frozen(replace_head(build(), CLASSES, seed=0), plan)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    cut = find_cut(model, photos(side, 6))
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    fresh = photos(side, 8)[6:]
    splice = Splice(model, cut)
    features = splice.features(fresh)
    results = []
    for inputs in (fresh, features):
        for key, buffer in model.named_buffers():
            buffer.copy_(state[key])
        torch.manual_seed(2)
        logits = model(inputs)
        cross_entropy(logits, torch.tensor([0, 1])).backward()
        results.append([logits.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
        model.zero_grad(set_to_none=True)
    assert len(results[0]) == len(results[1]) > 1
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_what_lies_before_the_cut_does_not_run(tmp_path: Path) -> None:
    model = frozen(small())
    features = cached(model, photos(), tmp_path)
    model[0][0].register_forward_hook(lambda *_: pytest.fail("the first convolution ran"))  # type: ignore[index]
    assert model(features[[0, 1]]).shape == (2, CLASSES)


def test_removed_it_leaves_nothing_behind(tmp_path: Path) -> None:
    model = frozen(small())
    before = model.eval()(photos())
    cache = FeatureCache(model, tmp_path, budget=10**8, trains={"6.weight", "6.bias"})
    stored(cache, photos())
    cache.remove()
    assert torch.equal(model(photos()), before)
    assert all("forward" not in vars(module) for module in model.modules())
    assert not model._forward_pre_hooks and not model._forward_hooks


def spoil_weight(model: nn.Module, data: Tensor) -> None:
    model[0][0].weight.data[0, 0, 0, 0] += 1e-6  # type: ignore[index,union-attr,operator]


def spoil_statistic(model: nn.Module, data: Tensor) -> None:
    model[1].norm.running_var[0] += 1e-6  # type: ignore[union-attr,index,operator]


def spoil_pixel(model: nn.Module, data: Tensor) -> None:
    data[7, 1, 3, 3] += 1e-6


def spoil_setting(model: nn.Module, data: Tensor) -> None:
    model[1].norm.eps = 1e-4  # type: ignore[union-attr,assignment]


def spoil_module(model: nn.Module, data: Tensor) -> None:
    model[0][2] = nn.LeakyReLU(0.0)  # type: ignore[index,operator]


@pytest.mark.parametrize("spoil", [spoil_weight, spoil_statistic, spoil_pixel, spoil_setting, spoil_module])
def test_whatever_changes_invalidates(spoil: Callable[[nn.Module, Tensor], None], tmp_path: Path) -> None:
    data = photos()
    assert note(frozen(small()), data, tmp_path) == "computed"
    assert note(frozen(small()), data, tmp_path) == "found"
    model = frozen(small())
    spoil(model, data)
    assert note(model, data, tmp_path) == "computed"


def test_dtype_mode_and_plan_invalidate(tmp_path: Path) -> None:
    data = photos()
    cached(frozen(small()), data, tmp_path)
    model = frozen(small())
    with torch.autocast("cpu", torch.bfloat16):
        assert note(model, data, tmp_path) == "computed"
    assert note(frozen(small(), "last:1"), data, tmp_path) == "computed"
    assert note(frozen(small()), data, tmp_path, half=True) == "computed"
    model = frozen(small())
    nn.init.zeros_(model[6].weight)  # what trains may be anything  # type: ignore[arg-type]
    assert note(model, data, tmp_path) == "found"


def test_under_autocast_the_bits_are_the_same(tmp_path: Path) -> None:
    data = photos()
    model = frozen(small())
    with torch.autocast("cpu", torch.bfloat16):
        features = cached(model, data, tmp_path)
        torch.manual_seed(0)
        expected = model(data[:4])
        torch.manual_seed(0)
        assert torch.equal(model(features[range(4)]), expected)
    assert features.layout.slots[0].dtype == torch.bfloat16


def test_half_the_bytes_are_near(tmp_path: Path) -> None:
    full = cached(frozen(small()), photos(), tmp_path)
    halved = cached(frozen(small()), photos(), tmp_path, half=True)
    assert 2 * halved.layout.record_bytes == full.layout.record_bytes
    assert halved.file.stat().st_size * 2 == full.file.stat().st_size
    for a, b in zip(full[range(10)].tensors, halved[range(10)].tensors, strict=True):
        assert a.dtype == b.dtype and torch.allclose(a, b, rtol=1e-3) and not torch.equal(a, b)


@pytest.mark.parametrize("harm", ["cut off", "one bit", "no description"])
def test_a_damaged_file_is_made_anew_and_said(harm: str, tmp_path: Path) -> None:
    before = cached(frozen(small()), photos(), tmp_path)
    kept = before[range(10)].tensors[0].clone()
    file, told = before.file, before.file.with_suffix(".json")
    content = bytearray(file.read_bytes())
    if harm == "cut off":
        file.write_bytes(content[:-1])
    elif harm == "one bit":
        content[17] ^= 1
        file.write_bytes(content)
    else:
        told.write_text(told.read_text()[:-20])
    cache = FeatureCache(frozen(small()), tmp_path, budget=10**8)
    again = stored(cache, photos())
    assert cache.notes == [
        "computed" if harm == "no description" else f"computed anew: {file} is damaged: it is not what was written"
    ]
    assert torch.equal(again[range(10)].tensors[0], kept)


def test_features_of_another_network_under_the_same_name_are_not_believed(tmp_path: Path) -> None:
    before = cached(frozen(small()), photos(), tmp_path)
    told = json.loads(before.file.with_suffix(".json").read_text())
    wrong = [Features(tuple(tensor + 1 for tensor in before[range(10)].tensors))]
    key = before.file.stem
    write_features(tmp_path, key, before.layout, 10, wrong, budget=10**8, notes={"cut": told["cut"]})
    assert "other features" in note(frozen(small()), photos(), tmp_path)


class Noisy(nn.Module):
    """Chance that no name gives away."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


def test_chance_and_neighbours_in_the_frozen_part_are_refused() -> None:
    model = small()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("6.")
    model.train()  # and no plan applied: batch norms move, dropout draws
    with pytest.raises(CannotCacheError, match=r"0\.1 \(BatchNorm2d\) is in training mode: its statistics move"):
        find_cut(model, photos())
    with pytest.raises(CannotCacheError, match=r"BatchNorm2d\) takes the statistics of each batch"):
        find_cut(frozen(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), *small())), photos())
    with pytest.raises(CannotCacheError, match="everything trains"):
        find_cut(frozen(small(), "all"), photos())
    noisy = frozen(nn.Sequential(Noisy(), nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)))
    with pytest.raises(CannotCacheError):
        find_cut(noisy, photos())


def test_chance_after_a_frozen_part_moves_the_cut_before_it() -> None:
    model = frozen(nn.Sequential(nn.Conv2d(3, 2, 3), Noisy(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)))
    cut = find_cut(model, photos())
    assert [(port.name, port.side) for port in cut.ports] == [("0", "out")]


class Forked(nn.Module):
    """A decoder that takes what the frozen encoder gave at two depths, as U-Nets do."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.head = nn.Conv2d(10, 5, 3, padding=1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x).relu()
        second = self.two(nn.functional.max_pool2d(first, 2)).relu()
        back = nn.functional.interpolate(second, scale_factor=2)
        return self.head(self.up(torch.cat([first, back], 1)).relu_())


def test_a_u_net_is_cut_at_every_depth_that_its_decoder_takes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Forked().train()
    apply_freeze(model, FreezePlan("head", "up"))
    features = cached(model, photos(), tmp_path)
    assert torch.equal(model(features[[3, 1]]), model(photos()[[3, 1]]))
    assert sum(int(torch.Size(shape.sizes).numel()) for shape in features.layout.slots) <= 10 * 16 * 16


def test_no_room_is_said_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = frozen(small())
    with pytest.raises(NoRoomError, match=r"frozen features need 0\.2 kB, and --cache allows 0\.1 kB"):
        cached(model, photos(), tmp_path, budget=100)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    with pytest.raises(NoRoomError, match=r"has room for 0\.0 kB; HONE_CACHE names another folder"):
        cached(model, photos(), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(NoRoomError, match="can't be kept in"):
        cached(model, photos(), tmp_path / "file")
    assert all("forward" not in vars(module) for module in model.modules())
    assert not list(tmp_path.glob("*.bin"))


def test_bounds_hold_for_fifty_thousand_photos(tmp_path: Path) -> None:
    """50,000 records of 5 kB in a folder that may take 300 MB: the file before goes, and memory stays flat."""
    layout = Layout((Shape((1280,), torch.float32),))
    batch = Features((torch.ones(1000, 1280),))
    for key in ("first", "second"):
        stored = write_features(tmp_path, key, layout, 50_000, [batch] * 50, budget=300_000_000)
        held = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert 256_000_000 < held < 300_000_000
    assert not (tmp_path / "first.bin").exists()
    assert float(stored[[0, 49_999]].tensors[0].sum()) == 2 * 1280


def test_several_runs_share_what_is_stored(tmp_path: Path) -> None:
    caches = [FeatureCache(frozen(small()), tmp_path, budget=10**8) for _ in range(2)]
    first, second = (stored(cache, photos()) for cache in caches)
    assert [cache.notes for cache in caches] == [["computed"], ["found"]]
    assert first.file == second.file
    assert torch.equal(caches[0].model.eval()(first[[2]]), caches[1].model.eval()(second[[2]]))
    assert not list(tmp_path.glob(".*.draft"))


def test_one_network_takes_several_data_sets(tmp_path: Path) -> None:
    model = frozen(small())
    cache = FeatureCache(model, tmp_path, budget=10**8)
    train_features, val_features = stored(cache, photos()), stored(cache, photos(count=3))
    model.eval()
    assert torch.equal(model(train_features[range(4)]), model(photos()[:4]))
    assert torch.allclose(model(val_features[range(3)]), model(photos(count=3)))
    assert [note(frozen(small()), data, tmp_path) for data in (photos(count=3), photos())] == ["found", "found"]
