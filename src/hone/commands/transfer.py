"""``hone transfer MODEL FILE``: what would become of every tensor if FILE's weights were copied into MODEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from torch import Tensor, nn

from hone.commands.arguments import Parser, apart
from hone.commands.console import say
from hone.commands.tables import add_row, columns, show
from hone.models import ModelName, build_model, find_model
from hone.models.names import segments
from hone.recipe.folder import as_json
from hone.recipe.kinds.mask_model import copy_source
from hone.transfer import Audit, copy_weights, read_weights, replace_head

_WHAT = """\
Copy a file's weights into a model as training would, and account for every tensor; nothing is trained or written.

--model.argument VALUE gives the model's builder an argument."""
#: ``hone fit`` refuses a source that fits less of the model than this.
_LEAST = 0.8


def main(words: Sequence[str]) -> int:
    """Run ``hone transfer WORDS``; 2 where ``hone fit`` would refuse this source."""
    plain, dotted = apart(words)
    parser = Parser("transfer", _WHAT)
    parser.add_argument("model", metavar="MODEL", help="timm or torchvision classifier, or your_module:builder")
    parser.add_argument("file", metavar="FILE", help="weights: .safetensors, .pth, .pt")
    parser.add_argument("--outputs", type=int, metavar="N", help="size of a new output layer, as training makes one")
    parser.add_argument("--all", action="store_true", help="show the tensors that were simply copied, too")
    parser.add_argument("--json", metavar="FILE", help="write every row here")
    found = parser.parse_args(plain)
    name = find_model(found.model)
    model = build_model(name, pretrained=False, options=dotted.get("model"))
    if found.outputs is not None:
        replace_head(model, found.outputs)
    state = read_weights(found.file)
    audit = _copied(model, state, name, outputs=found.outputs)
    say("model", str(name))
    say("source", f"{escape(found.file)}, {len(state)} tensors")
    say("transfer", audit.summary())
    _show(audit, everything=found.all)
    if found.json:
        Path(found.json).write_text(as_json(audit.to_json()))
    if audit.share < _LEAST:
        percent = int(100 * audit.share)
        say("refused", f"only {percent} % of the trunk's parameters fit, and hone fit asks for {_LEAST:.0%}")
        return 2
    return 0


def _copied(model: nn.Module, state: Mapping[str, Tensor], name: ModelName, *, outputs: int | None) -> Audit:
    """As training copies: into the encoder of a network that segments, where the source is a classifier."""
    if segments(name):
        return copy_source(model, state, minimum=0.0)
    return copy_weights(model, state, skip=() if outputs is None else ("head",), minimum=0.0)


def _show(audit: Audit, *, everything: bool) -> None:
    rows = [row for row in audit.rows if everything or row.status != "copied"]
    if not rows:
        return
    table = columns("what", "tensor", "shape", "why")
    for row in rows:
        renamed = row.source is not None and row.source != row.name
        why = ", ".join(filter(None, (row.reason, f"from {row.source}" if renamed else "")))
        shape = " x ".join(map(str, row.shape)) or "scalar"
        add_row(table, (row.status, row.name, shape, why), style="dim" if row.status == "copied" else "")
    show(table)
