"""Losses with parameters of their own: the last linear map of a network, over many classes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from portanet.library import namespace_of
from portanet.nn import functional as F
from portanet.nn.functional._adaptive import log_probabilities, target_log_probabilities
from portanet.nn.functional._losses import require_smoothing
from portanet.nn.functional.many_classes import refuse_options
from portanet.nn.module import Module
from portanet.nn.modules.container import ModuleList, Sequential
from portanet.nn.modules.linear import Linear
from portanet.nn.modules.loss import _Loss

__all__ = ["AdaptiveLogSoftmaxWithLoss", "LinearCrossEntropyLoss"]


class LinearCrossEntropyLoss(_Loss):
    """The cross entropy of a linear map, which it owns: see `portanet.nn.functional.linear_cross_entropy`.

    Args:
        in_features: the length of the last axis of the input.
        num_classes: C.
        out_features: (d1, ...), where each example has several targets.
        bias: whether the map has a bias.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        weight: a factor for each class, shape (C,), or None; kept as the buffer ``weight``.
        ignore_index: examples with this index count for nothing; None is -100.
        label_smoothing: this part, from 0 to 1, of each target is spread evenly over the classes.
        options: kept for PyTorch's sake; only None is possible.

    Shapes: input (N, in_features) or (in_features,); target as in the function. Parameters: those of ``linear``, a
    `Linear` from in_features to C d1 ... scores.

    >>> import portanet
    >>> loss = portanet.nn.LinearCrossEntropyLoss(3, 4, bias=True)
    >>> loss.linear
    Linear(in_features=3, out_features=4, bias=True)
    >>> loss(portanet.ones((5, 3)), portanet.asarray([0, 1, 2, 3, 0])).shape
    ()
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: None = None,
    ) -> None:
        super().__init__(reduction)
        refuse_options("LinearCrossEntropyLoss", options)
        require_smoothing("LinearCrossEntropyLoss", label_smoothing)
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ValueError(
                f"LinearCrossEntropyLoss(num_classes={num_classes}): the weight has shape {tuple(weight.shape)}, expected "
                f"({num_classes},)."
            )
        self._keep("weight", weight)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(
            in_features, num_classes * math.prod(self.out_features), bias=bias, device=device, dtype=dtype
        )

    def forward(self, input: Any, target: Any) -> Any:
        shape, map_ = (self.num_classes, *self.out_features), self.linear
        xp = namespace_of(map_.weight)
        return F.linear_cross_entropy(
            input,
            xp.reshape(map_.weight, (*shape, map_.in_features)),
            target,
            linear_bias=None if map_.bias is None else xp.reshape(map_.bias, shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        map_ = self.linear
        return (
            f"in_features={map_.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={map_.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options=None"
        )


class TargetLogProbability(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` answers: the log-probability of each target, and the mean loss."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """The adaptive softmax: frequent classes get a score each, rare ones share a score and are told apart by a small map.

    The classes are sorted by falling frequency. The head gives scores to the first ``cutoffs[0]`` of them and one to
    each cluster of the rest; cluster i is a product of two maps through in_features / div_value**(i + 1) features.
    Grave, Joulin, Cisse, Grangier and Jegou 2017, "Efficient softmax approximation for GPUs".

    PyTorch computes a cluster for those examples alone that have their target in it. Here it is computed for all, so
    that no shape depends on the data: the result is the same, and the saving is that of the small maps.

    Args:
        in_features: the length of the last axis of the input.
        n_classes: the number of classes.
        cutoffs: where the clusters begin: rising numbers from 1 to n_classes - 1.
        div_value: by which the features of each cluster are fewer than those of the one before.
        head_bias: whether the head has a bias.
        device: where the parameters lie; None: the current backend's device.
        dtype: of the parameters; None: the default, float32.

    Shapes: input (N, in_features) or (in_features,), target of integers (N,) or () -> ``output`` (N,) or (), the
    log-probability of each target, and ``loss`` (), the mean of -output. Parameters: those of ``head`` and ``tail``.

    Raises:
        ValueError: ``cutoffs`` are no such numbers, or the shapes do not go together.
        IndexError: a target names no class; looked for as in `portanet.nn.functional.cross_entropy`, and nan where
            that is not done.

    >>> import portanet
    >>> softmax = portanet.nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10])
    >>> x = portanet.ones((3, 8))
    >>> softmax(x, portanet.asarray([0, 19, 7])).output.shape
    (3,)
    >>> portanet.sum(portanet.exp(softmax.log_prob(x)), axis=1).detach()
    tensor([1., 1., 1.])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        ends = [0, *cutoffs, n_classes]
        rising = all([a < b for a, b in itertools.pairwise(ends)])
        if len(ends) == 2 or not rising or any([int(end) != end for end in ends]):
            raise ValueError(
                f"AdaptiveLogSoftmaxWithLoss(n_classes={n_classes}): cutoffs={list(cutoffs)}; expected at least one, "
                f"whole numbers that rise from 1 or more to {n_classes - 1} or less."
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = ends[1:]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        how: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **how)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden, count = int(in_features // div_value ** (i + 1)), self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, hidden, bias=False, **how), Linear(hidden, count, bias=False, **how))
            )

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        for map_ in [self.head, *[map_ for cluster in self.tail for map_ in cluster]]:
            map_.reset_parameters()

    def _scores(self, input: Any) -> tuple[Any, list[Any]]:
        return self.head(input), [cluster(input) for cluster in self.tail]

    def forward(self, input_: Any, target_: Any) -> TargetLogProbability:
        if input_.ndim not in (1, 2):
            raise ValueError(
                f"AdaptiveLogSoftmaxWithLoss: expected an input of shape (N, {self.in_features}) or "
                f"({self.in_features},), saw {tuple(input_.shape)}."
            )
        output = target_log_probabilities(*self._scores(input_), target_)
        return TargetLogProbability(output, 0 - namespace_of(output).mean(output))

    def log_prob(self, input: Any) -> Any:
        """The log-probabilities of all classes, shape (N, n_classes) for an input (N, in_features).

        >>> import portanet
        >>> softmax = portanet.nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10])
        >>> softmax.log_prob(portanet.ones((3, 8))).shape
        (3, 20)
        """
        return log_probabilities(*self._scores(input))

    def predict(self, input: Any) -> Any:
        """The most probable class of each example, shape (N,): the first where several are.

        >>> import portanet
        >>> softmax = portanet.nn.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs=[4, 10])
        >>> softmax.predict(portanet.ones((3, 8))).shape
        (3,)
        """
        logs = self.log_prob(input)
        return namespace_of(logs).argmax(logs, axis=-1)
