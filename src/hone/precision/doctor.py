"""The doctor: the same batch in float32 and in half precision, compared operation by operation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hone.checks import invalid, one_of
from hone.precision.autocast import Autocast
from hone.precision.compare import Difference, difference
from hone.precision.judge import Run, exact_verdict, judge
from hone.precision.keep import keep_fp32
from hone.precision.step import HALF
from hone.precision.trace import LOSS, Record, Trace
from hone.precision.verdict import Diagnosis, Fault, Verdict

Loss = Callable[[Any, Tensor], Tensor]

#: The loss scales that are tried, as the scaler would come down to them.
SCALES = (65536.0, 4096.0, 256.0, 16.0, 1.0)
#: Modules that are tried in float32 before a format is given up.
MOST_KEPT = 8


def diagnose(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss: Loss,
    *,
    kinds: Sequence[str] = ("bf16", "fp16"),
    names: Sequence[str] = (),
) -> Diagnosis:
    """Find out which half-precision formats are safe for a model, and what breaks those that are not.

    The batch goes forward and backward in float32 and in each format (fp16 with a loss scale, lowered as the scaler
    would). Every operation's result and gradient is compared; the first that overflows, underflows or loses its digits
    is named. Then the modules named are tried in float32, until the format is safe. Dropout is off. The model's
    weights, buffers, gradients and mode, and the random state, are afterwards as they were.

    Args:
        model: in the mode to be diagnosed, on its device, float32.
        batch: inputs and target, as a data loader yields them; several inputs as a tuple.
        loss: ``(logits, target) -> scalar``.
        kinds: formats to try besides float32.
        names: file names of the samples, to say which one holds NaN.

    Returns:
        A verdict for fp32 and each of ``kinds``.

    Raises:
        ValueError: the batch holds inf or NaN, or the model is half precision already.
        TypeError: the loss is half precision.

    Example:
        >>> torch.manual_seed(0)
        <torch._C.Generator object at ...>
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> batch = torch.randn(16, 4), torch.randint(0, 2, (16,))
        >>> diagnose(model, batch, lambda x, y: nn.functional.cross_entropy(x.float(), y), kinds=["fp16"])["fp16"].safe
        True
    """
    for kind in kinds:
        one_of("kind", kind, list(HALF))
    inputs = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
    refuse_bad_batch(inputs, names)
    refuse_half_model(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise invalid("model", "have a parameter that trains", "none", "unfreeze what you mean to train")
    patient = Patient(model, inputs, batch[1], loss, parameters)
    with patient.unchanged():
        exact = patient.run(None, None)
        verdicts = [exact_verdict(exact)]
        if verdicts[0].safe:
            verdicts += [patient.verdict(kind, exact) for kind in kinds]
    return Diagnosis(tuple(verdicts))


@dataclasses.dataclass
class Patient:
    """A model with its batch and loss."""

    model: nn.Module
    inputs: Sequence[Any]
    target: Tensor
    loss: Loss
    parameters: list[nn.Parameter]

    def verdict(self, kind: str, exact: Run) -> Verdict:
        """Try ``kind``; while it is not safe, with one more of the modules it names in float32."""
        tried, control = self.run(kind, exact), None
        first = judge(kind, tried, exact)
        if not first.safe and math.isfinite(first.grad_cosine):
            with self.rounded(HALF[kind]):
                control = self.run(kind, exact, autocast=False)
            first = judge(kind, tried, exact, control)
        latest = first
        kept: list[str] = []
        while not latest.safe and latest.fault is not None and len(kept) < MOST_KEPT:
            module = latest.fault.module
            if module in ("", LOSS, *kept):
                break
            kept.append(module)
            hold = keep_fp32(self.model, *kept)
            try:
                latest = judge(kind, self.run(kind, exact), exact, control)
            finally:
                hold.remove()
        return dataclasses.replace(first, keep_fp32=tuple(kept)) if kept and latest.safe else first

    def run(self, kind: str | None, exact: Run | None, autocast: bool = True) -> Run:
        """Forward and backward once, in ``kind`` against ``exact``, or in float32 where both are None."""
        device = self.parameters[0].device
        run = Run(Trace(self.model, keep_all, keep_all))
        known = {} if exact is None else {record.key: record for record in exact.trace.records}
        if kind is not None:
            run.trace = Trace(
                self.model,
                lambda record, value: against(known.get(record.key), "value", value, kind, 1.0),
                lambda record, grad: against(known.get(record.key), "grad", grad, kind, run.scale),
            )
        torch.manual_seed(0)
        with Autocast(device.type, HALF[kind] if kind is not None and autocast else None), run.trace.watching():
            try:
                loss = self.loss(self.model(*self.inputs), self.target)
            except RuntimeError as error:
                run.error = Fault(*run.trace.running, "forward", "error", str(error).splitlines()[0])
                return run
        refuse_half_loss(loss)
        run.loss = loss.item()
        for scale in SCALES if kind == "fp16" else (1.0,):
            run.scale = scale
            run.trace.arrived.clear()
            run.grads = torch.autograd.grad(loss * scale, self.parameters, retain_graph=True, allow_unused=True)
            if not math.isfinite(run.loss) or all(g is None or bool(g.isfinite().all()) for g in run.grads):
                break
        return run

    @contextmanager
    def rounded(self, dtype: torch.dtype) -> Iterator[None]:
        """Weights and inputs with as few digits as ``dtype`` has, in float32 and with its range."""
        weights, inputs = list(self.model.parameters()), self.inputs
        before = [weight.detach().clone() for weight in weights]
        self.inputs = [
            round_mantissa(x, dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs
        ]
        try:
            with torch.no_grad():
                for weight in weights:
                    weight.copy_(round_mantissa(weight, dtype))
            yield
        finally:
            self.inputs = inputs
            with torch.no_grad():
                for weight, value in zip(weights, before, strict=True):
                    weight.copy_(value)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Put the buffers, the modes and the random state back afterwards; switch dropout off meanwhile."""
        device = self.parameters[0].device
        buffers = [(buffer, buffer.detach().clone()) for buffer in self.model.buffers()]
        dropping = [m for m in self.model.modules() if m.training and is_dropout(m)]
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else [], enabled=True))
            stack.enter_context(torch.enable_grad())
            for module in dropping:
                stack.callback(module.train)
                module.eval()
            try:
                yield
            finally:
                with torch.no_grad():
                    for buffer, value in buffers:
                        buffer.copy_(value)


def round_mantissa(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor`` rounded to the digits of ``dtype``, whatever its size.

    Example:
        >>> round_mantissa(torch.tensor([1.001, 1e9]), torch.bfloat16)
        tensor([1.0000e+00, 9.9824e+08])
    """
    mantissa, exponent = torch.frexp(tensor)
    steps = 1.0 / torch.finfo(dtype).eps * 2
    return torch.ldexp((mantissa * steps).round() / steps, exponent)


def is_dropout(module: nn.Module) -> bool:
    """Dropout and stochastic depth, by the names they go by."""
    name = type(module).__name__
    return name.startswith(("Drop", "StochasticDepth")) or name.endswith("Dropout")


def keep_all(record: Record, tensor: Tensor) -> Tensor:
    """float32 is kept whole: in-place operations may overwrite it before it is compared."""
    return tensor.clone()


def against(exact: Record | None, part: str, tensor: Tensor, kind: str, scale: float) -> Difference | None:
    """The difference from the same operation's float32 record; None where float32 has no such record."""
    reference = None if exact is None else getattr(exact, part)
    if reference is None or reference.shape != tensor.shape:
        return None
    return difference(reference, tensor, kind, scale)


def refuse_bad_batch(inputs: Sequence[Any], names: Sequence[str]) -> None:
    """Raise where a sample holds inf or NaN: no number format can help that."""
    for tensor in inputs:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            continue
        bad = (~tensor.isfinite()).reshape(len(tensor), -1).any(dim=1).nonzero().flatten().tolist()
        if bad:
            said = ", ".join(names[i] if i < len(names) else f"sample {i}" for i in bad[:5])
            raise invalid(
                "batch", "be finite", f"inf or NaN in {said}", "it comes from the data, not from the precision"
            )


def refuse_half_model(model: nn.Module) -> None:
    """Raise where the model's own weights are half precision."""
    for name, parameter in model.named_parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16):
            raise invalid("model", "be float32", f"{name}: {parameter.dtype}", "call model.float() first")


def refuse_half_loss(loss: Tensor) -> None:
    """Raise where the loss comes out in half precision."""
    if loss.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(f"loss must be float32 or float64, got {loss.dtype}; compute it from logits.float()")
