r"""Linear layers fitted to fixed features: convex problems, solved to their minimum, the penalty by cross-validation.

With standardised features :math:`z = (x - \mu) / \sigma` the fits are in :math:`V, c`, and the layer for :math:`x` is
:math:`W = V / \sigma`, :math:`b = c - W \mu`. All is float64. Where there are fewer samples than features the problem
is solved in the samples' own subspace (:math:`z = L Q` with orthogonal rows :math:`Q`): the penalty does not see the
rotation, and the minimum is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: The inverse penalties that cross-validation chooses from, the strongest first: each fit starts where the last ended.
INVERSE_PENALTIES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
USUAL_INVERSE_PENALTY = 1e-2
#: Ridge penalties, in shares of the number of samples.
RIDGE_PENALTIES = (1e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 100.0)
FOLDS = 5
#: Above so many numbers in the features the penalty is not searched for: one fit takes long enough.
SEARCHED_BELOW = 16_000_000
_ITERATIONS = 200
#: Largest slope at which a minimum counts as reached, of an objective of size 1; a fit of the search is one of many.
_SLOPE, _SLOPE_OF_SEARCH = 1e-6, 1e-4


def logistic(features: Tensor, target: Tensor, *, independent: int | None = None) -> tuple[Tensor, Tensor]:
    r"""L2 logistic regression: softmax over classes, or one sigmoid a label (one-vs-rest).

    .. math:: \min_{V, c} \; C \sum_i \ell(V z_i + c, t_i) + \tfrac12 \lVert V \rVert^2

    Args:
        features: (N, F).
        target: (N,) int64 classes from 0, each with a sample; or (N, L) of 0 and 1, a column a label.
        independent: the penalty is searched for among so many first samples; the others are further views of these, and
            would say nothing new of them.

    Returns:
        Weight (C, F) and bias (C,), float32.

    Example:
        >>> x = torch.tensor([[0.0], [0.2], [0.8], [1.0]])
        >>> weight, bias = logistic(x, torch.tensor([[0.0], [0.0], [1.0], [1.0]]))
        >>> ((x @ weight.T + bias) > 0).flatten().tolist()
        [False, False, True, True]

    Reference:
        Liu and Nocedal, "On the limited memory BFGS method", Mathematical Programming 1989.
    """
    fit = _Logistic.of(features, target)
    inverse = USUAL_INVERSE_PENALTY
    if features[:independent].numel() < SEARCHED_BELOW:
        plain = (
            fit if independent in (None, len(features)) else _Logistic.of(features[:independent], target[:independent])
        )
        inverse, _ = plain.searched()
    return fit.layer(fit.solve(inverse, fit.start(), slice(None)))


def explained_by_logistic(features: Tensor, target: Tensor) -> float | None:
    r"""What share of the target's entropy :func:`logistic` explains on folds that it was fitted without.

    .. math:: R^2 = 1 - \frac{\sum_i \ell(V_{-k(i)} z_i + c_{-k(i)}, t_i)}{N H(t)}

    with the layer :math:`V_{-k}, c_{-k}` fitted without fold :math:`k`; over labels, losses and entropies are summed.

    Args:
        features: (N, F).
        target: as :func:`logistic` takes it.

    Returns:
        At most 1, 0 or below where the features say nothing; None where a class has fewer samples than there are folds,
        or the target does not vary.

    Example:
        >>> x = torch.linspace(-1, 1, 40)[:, None]
        >>> explained_by_logistic(x, (x[:, 0] > 0).long()) > 0.5
        True

    Reference:
        McFadden, "Conditional Logit Analysis of Qualitative Choice Behavior", Frontiers in Econometrics 1974.
    """
    fit = _Logistic.of(features, target)
    _, losses = fit.searched()
    share = fit.truth.mean(0)
    entropy = float(torch.special.entr(share).sum() + (0 if fit.softmax else torch.special.entr(1 - share).sum()))
    return None if losses is None or entropy == 0 else 1 - float(losses.mean()) / entropy


def ridge(features: Tensor, target: Tensor, *, independent: int | None = None) -> tuple[Tensor, Tensor]:
    r"""Ridge regression, the penalty by leaving one out.

    .. math:: \min_{V, c} \; \sum_i \lVert V z_i + c - y_i \rVert^2 + \lambda \lVert V \rVert^2

    With :math:`z = U S Q`, the error at a sample that was left out is :math:`(y_i - \hat y_i) / (1 - h_i)` with
    :math:`h_i = 1/N + \sum_j U_{ij}^2 s_j^2 / (s_j^2 + \lambda)`: no fit is repeated.

    Args:
        features: (N, F), N at least 2.
        target: (N,) or (N, D) float.
        independent: as in :func:`logistic`.

    Returns:
        Weight (D, F) and bias (D,), float32.

    Example:
        >>> x = torch.arange(8.0)[:, None]
        >>> weight, bias = ridge(x, 3 * x + 1)
        >>> abs(float(weight) - 3) < 0.01
        True

    Reference:
        Golub, Heath and Wahba, "Generalized Cross-Validation as a Method for Choosing a Good Ridge Parameter",
        Technometrics 1979.
    """
    share, _ = _left_out_best(features[:independent], target[:independent])
    x, y = Standardized.of(features), target.double().reshape(len(target), -1)
    mean = y.mean(0)
    u, s, q = torch.linalg.svd(x.values, full_matrices=False)
    kept = s / (s.square() + share * len(y))
    return x.layer((q.T @ (kept[:, None] * (u.T @ (y - mean)))).T, mean)


def explained_by_ridge(features: Tensor, target: Tensor) -> float | None:
    r"""What share of the target's variance :func:`ridge` explains at samples left out, :math:`R^2`.

    Args:
        features: (N, F).
        target: as :func:`ridge` takes it.

    Returns:
        At most 1, 0 or below where the features say nothing; None where the target does not vary.

    Example:
        >>> x = torch.arange(8.0)[:, None]
        >>> explained_by_ridge(x, 3 * x + 1) > 0.99
        True
    """
    variance = float(target.double().reshape(len(target), -1).var(0, correction=0).mean())
    return 1 - _left_out_best(features, target)[1] / variance if variance > 0 else None


def _left_out_best(features: Tensor, target: Tensor) -> tuple[float, float]:
    """The ridge penalty, as a share of the samples, with the smallest error at samples left out, and that error."""
    x, y = Standardized.of(features).values, target.double().reshape(len(target), -1)
    y = y - y.mean(0)
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    image = u.T @ y
    errors = []
    for share in RIDGE_PENALTIES:
        kept = s.square() / (s.square() + share * len(y))
        left_out = (1 - 1 / len(y) - u.square() @ kept).clamp(min=1e-9)
        errors.append(float(((y - u @ (kept[:, None] * image)) / left_out[:, None]).square().mean()))
    return RIDGE_PENALTIES[errors.index(min(errors))], min(errors)


@dataclass(frozen=True)
class Standardized:
    """Features with mean 0 and spread 1; a feature that does not vary stays 0.

    Attributes:
        values: (N, F) float64.
        mean: (F,).
        scale: (F,).
    """

    values: Tensor
    mean: Tensor
    scale: Tensor

    @staticmethod
    def of(features: Tensor) -> Standardized:
        """Standardise (N, F)."""
        x = features.double()
        mean, scale = x.mean(0), x.std(0, correction=0)
        scale = torch.where(scale > 1e-6 * scale.max(), scale, 1.0)
        return Standardized((x - mean) / scale, mean, scale)

    def layer(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """The float32 layer for the features as they were."""
        plain = weight / self.scale
        return plain.float(), (bias - plain @ self.mean).float()


@dataclass(frozen=True)
class _Logistic:
    """One problem: what it is fitted to, and in which coordinates.

    Attributes:
        x: (N, R) float64, the standardised features or their coordinates in the samples' subspace.
        truth: (N, C) of 0 and 1.
        softmax: whether the classes exclude each other.
        basis: (R, F), the directions of the coordinates; None where they are the features.
        standardized: the features.
    """

    x: Tensor
    truth: Tensor
    softmax: bool
    basis: Tensor | None
    standardized: Standardized

    @staticmethod
    def of(features: Tensor, target: Tensor) -> _Logistic:
        standardized = Standardized.of(features)
        softmax = target.ndim == 1
        truth = F.one_hot(target).double() if softmax else target.double()
        x, basis = standardized.values, None
        if x.shape[0] < x.shape[1]:
            q, r = torch.linalg.qr(x.T)
            x, basis = r.T.contiguous(), q.T
        return _Logistic(x, truth, softmax, basis, standardized)

    def start(self) -> Tensor:
        """(C, R + 1) zeros, the bias last."""
        return torch.zeros(self.truth.shape[1], self.x.shape[1] + 1, dtype=torch.float64)

    def solve(self, inverse: float, start: Tensor, rows: slice | Tensor, slope: float = _SLOPE) -> Tensor:
        """The minimum over some samples, searched for from a start."""
        x, truth = self.x[rows], self.truth[rows]
        theta = start.clone().requires_grad_()
        scale = 1 / (inverse * len(x))  # the objective a sample: of size 1, whatever the penalty
        solver = torch.optim.LBFGS(
            [theta], max_iter=_ITERATIONS, tolerance_grad=slope, tolerance_change=1e-10, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            value = theta.detach()
            weight, logits = value[:, :-1], x @ value[:, :-1].T + value[:, -1]
            error = ((logits.softmax(1) if self.softmax else logits.sigmoid()) - truth) / len(x)
            theta.grad = torch.cat([error.T @ x + scale * weight, error.sum(0)[:, None]], 1)
            return self.losses(logits, truth).mean() + scale / 2 * weight.square().sum()

        solver.step(objective)  # type: ignore[no-untyped-call]
        return theta.detach()

    def losses(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(N,), the negative log-likelihood of each sample."""
        if self.softmax:
            return -(logits.log_softmax(1) * truth).sum(1)
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1)

    def searched(self) -> tuple[float, Tensor | None]:
        """The strongest penalty whose layers, each fitted without a fold, say nearly the most of that fold.

        Nearly: within a standard error of the best, which is where the curve is flat and the difference chance.

        Returns:
            The inverse penalty, and each sample's loss where its fold is left out; the usual one, and None, where
            there are no folds.
        """
        folds = self.folds()
        if not folds:
            return USUAL_INVERSE_PENALTY, None
        found: list[Tensor] = []
        fitted = [self.start()] * len(folds)
        for inverse in INVERSE_PENALTIES:
            losses = torch.empty(len(self.x), dtype=torch.float64)
            for place, held in enumerate(folds):
                fitted[place] = self.solve(inverse, fitted[place], ~held, _SLOPE_OF_SEARCH)
                logits = self.x[held] @ fitted[place][:, :-1].T + fitted[place][:, -1]
                losses[held] = self.losses(logits, self.truth[held])
            if found and losses.mean() >= found[-1].mean():
                break  # the loss has one valley: weaker penalties are further up
            found.append(losses)
        within = found[-1].mean() + found[-1].std() / len(self.x) ** 0.5
        return next(both for both in zip(INVERSE_PENALTIES, found, strict=False) if both[1].mean() <= within)

    def folds(self) -> Sequence[Tensor]:
        """Masks of the folds, each class spread evenly over them; none where a class is too small for that."""
        count = len(self.x)
        kinds = self.truth.argmax(1) if self.softmax else torch.zeros(count, dtype=torch.int64)
        fewest = int(torch.bincount(kinds).min()) if self.softmax else count
        if fewest < FOLDS:
            return []
        order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        places = torch.empty(count, dtype=torch.int64)
        for kind in range(int(kinds.max()) + 1):
            members = order[kinds[order] == kind]
            places[members] = torch.arange(len(members)) % FOLDS
        return [places == fold for fold in range(FOLDS)]

    def layer(self, fitted: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias for the features as they were."""
        weight = fitted[:, :-1] if self.basis is None else fitted[:, :-1] @ self.basis
        return self.standardized.layer(weight, fitted[:, -1])
