"""Networks for clips: what an image network says of a still picture is kept, and motion is what they see beside it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hone.models import build_model, find_model, input_preprocessing, takes_one_size
from hone.models.clips import AttentionPool, ClipModel, look_aside
from hone.models.time_convolution import Clock, TimeConv
from hone.transfer import copy_weights, find_head, layer_rows, replace_head

NAMES = ["mobilenet_v2", "timm:test_resnet", "timm:test_convnext", "timm:test_vit"]


def small(**options: object) -> ClipModel:
    """A network of every kind of convolution."""
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1, groups=16),
        nn.Conv2d(16, 24, 3, 2, 1, groups=4), nn.ReLU(), nn.Conv2d(24, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 5),
    )  # fmt: skip
    return ClipModel(backbone, **options).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("aside", [False, True])
def test_a_still_clip_gives_what_the_image_gave(name: str, aside: bool) -> None:
    torch.manual_seed(0)
    image = build_model(find_model(name), pretrained=False).eval()
    size = 160 if name == "timm:test_vit" else 64
    picture = torch.randn(2, 3, size, size)
    with torch.no_grad():
        expected = image(picture)
        model = ClipModel(copy.deepcopy(image), time_kernel=3).eval()
        if aside:
            look_aside(model)
        found = model(picture.unsqueeze(2).expand(-1, -1, 4, -1, -1))
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
        assert torch.allclose(model(picture), expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("length", [3, 5])
def test_a_convolution_in_time_is_a_3d_one_over_replicated_ends(groups: int, length: int) -> None:
    clock = Clock()
    layer = TimeConv(nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=groups), length, clock)
    nn.init.normal_(layer.weight)
    frames = torch.randn(2, 6, 8, 9, 9)
    padded = nn.functional.pad(frames.transpose(1, 2), (0, 0, 0, 0, length // 2, length // 2), mode="replicate")
    plain = nn.functional.conv3d(padded, layer.weight, layer.bias, (1, 2, 2), (0, 1, 1), 1, groups)
    clock.frames = 6
    assert torch.allclose(layer(frames.flatten(0, 1)), plain.transpose(1, 2).flatten(0, 1), atol=1e-5)


def test_single_frames_know_no_order_and_inflated_ones_do() -> None:
    clip = torch.randn(2, 3, 6, 32, 32)
    shuffled = clip[:, :, [3, 0, 5, 1, 4, 2]]
    frames, inflated = small(), small(time_kernel=3)
    for model in (frames, inflated):
        nn.init.normal_(model.head.weight)
    assert torch.allclose(frames(clip), frames(shuffled), atol=1e-5)
    assert not torch.allclose(inflated(clip), inflated(shuffled), atol=1e-3)
    assert torch.allclose(inflated(clip), inflated(clip.flip(2)), atol=1e-5), "equal shares know no direction"
    look_aside(inflated)
    assert not torch.allclose(inflated(clip), inflated(clip.flip(2)), atol=1e-3)


def test_looking_aside_moves_an_eighth_each_way_and_keeps_the_sum() -> None:
    layer = TimeConv(nn.Conv2d(16, 8, 3), 3, Clock())
    image = layer.weight.detach().sum(2)
    layer.look_aside()
    torch.testing.assert_close(layer.weight.sum(2), image)
    seen = [(layer.weight[:, :, tap].abs().sum((0, 2, 3)) > 0).nonzero().flatten().tolist() for tap in range(3)]
    assert seen[0] == [0, 8] and seen[2] == [1, 9] and len(seen[1]) == 12


def test_the_memory_layout_changes_nothing() -> None:
    model, clip = small(time_kernel=3), torch.randn(2, 3, 4, 32, 32)
    laid_out = clip.contiguous(memory_format=torch.channels_last_3d)
    assert torch.allclose(model(clip), model(laid_out), atol=1e-5)


def test_attention_begins_as_the_mean_and_can_tell_order() -> None:
    torch.manual_seed(0)
    clip = torch.randn(2, 3, 6, 32, 32)
    attention, mean = small(pooling="attention"), small()
    assert torch.allclose(attention(clip), mean(clip), atol=1e-5)
    pool = AttentionPool(24)
    nn.init.normal_(pool.position.weight)
    features = torch.randn(3, 5, 24)
    assert not torch.allclose(pool(features), pool(features.flip(1)), atol=1e-2)
    weights = pool(torch.ones(3, 5, 24))
    assert torch.allclose(weights, torch.ones(3, 24)), "weights sum to one"


def test_gradients_reach_every_parameter() -> None:
    model = small(time_kernel=3, pooling="attention").train()
    model(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    flat = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert flat in ([], ["pool.norm.weight", "pool.norm.bias"]), "the scores start at zero"


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:test_resnet"])
def test_image_weights_are_copied_with_an_account_of_each(name: str) -> None:
    torch.manual_seed(1)
    image = build_model(find_model(name), pretrained=False).eval()
    model = build_model(find_model(f"inflated:{name}"), pretrained=False)
    audit = copy_weights(model, image.state_dict(), skip=("head",))
    inflated = [row for row in audit.rows if row.reason == "inflated to 3D"]
    convolutions = [m for m in model.modules() if isinstance(m, TimeConv)]
    assert audit.share == 1.0 and len(inflated) == len(convolutions) > 0
    assert {row.name for row in audit.rows if row.status == "new"} == {"head.weight", "head.bias"}
    head = find_head(image)[0].layer
    model.head.load_state_dict(head.state_dict())  # type: ignore[operator]
    picture = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, found = image(picture), model.eval()(picture.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_heads_and_rows_are_those_of_the_image_network() -> None:
    model = build_model(find_model("frames:mobilenet_v2"), pretrained=False)
    assert [head.name for head in find_head(model)] == ["head"]
    replace_head(model, 4, seed=0)
    names = [row.name for row in layer_rows(model)]
    assert names[0] == "frames.network.features.0" and len(names) == 20
    assert names[-2:] == ["frames.network.features.18", "head"]


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_torchvisions_video_networks_are_built_by_name(name: str) -> None:
    found = find_model(name)
    assert str(found) == f"torchvision:{name}" and found == find_model(str(found))
    with torch.device("meta"):
        model = build_model(found, pretrained=False)
        replace_head(model, 4)
    assert find_head(model)[0].width == 4
    preprocessing = input_preprocessing(found, model)
    assert preprocessing.image_size in (112, 224) and preprocessing.mean[0] < 0.5


def test_what_takes_no_smaller_frames_keeps_its_size() -> None:
    found = find_model("s3d")
    model = build_model(found, pretrained=False).eval()
    assert takes_one_size(found, model) and not takes_one_size(find_model("r3d_18"), model)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 14, 224, 224)).shape == (1, 400)
        with pytest.raises(RuntimeError, match="smaller than kernel size"):
            model(torch.zeros(1, 3, 14, 112, 112))


def test_a_torchvision_network_takes_a_clip() -> None:
    model = replace_head(build_model(find_model("r3d_18"), pretrained=False), 3).eval()
    with torch.no_grad():
        logits: Tensor = model(torch.zeros(1, 3, 4, 32, 32))
    assert logits.shape == (1, 3)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("inflated:nothing_like_it", {}, "model 'nothing_like_it' is not known"),
        ("frames:squeezenet1_1", {}, "one linear output layer"),
        ("frames:mobilenet_v2", {"pooling": "max"}, "pooling 'max' is not known"),
        ("inflated:mobilenet_v2", {"time_kernel": 2}, "time_kernel must be odd"),
        ("inflated:mobilenet_v2", {"width": 2}, "does not take these options"),
    ],
)
def test_what_cannot_be_built(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_model(find_model(name), pretrained=False, options=options)


def test_a_network_without_convolutions_cannot_be_inflated() -> None:
    with pytest.raises(ValueError, match="convolutions larger than 1x1 to inflate, got 'Sequential'"):
        ClipModel(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), time_kernel=3)
