"""Schedules of the learning rate: each changes ``group["lr"]`` of an optimizer, most of them once an epoch."""

from portanet.optim.lr_scheduler.combined import ChainedScheduler as ChainedScheduler
from portanet.optim.lr_scheduler.combined import SequentialLR as SequentialLR
from portanet.optim.lr_scheduler.cosine import CosineAnnealingLR as CosineAnnealingLR
from portanet.optim.lr_scheduler.cosine import CosineAnnealingWarmRestarts as CosineAnnealingWarmRestarts
from portanet.optim.lr_scheduler.cycles import CyclicLR as CyclicLR
from portanet.optim.lr_scheduler.cycles import OneCycleLR as OneCycleLR
from portanet.optim.lr_scheduler.decay import ConstantLR as ConstantLR
from portanet.optim.lr_scheduler.decay import ExponentialLR as ExponentialLR
from portanet.optim.lr_scheduler.decay import LinearLR as LinearLR
from portanet.optim.lr_scheduler.decay import MultiStepLR as MultiStepLR
from portanet.optim.lr_scheduler.decay import PolynomialLR as PolynomialLR
from portanet.optim.lr_scheduler.decay import StepLR as StepLR
from portanet.optim.lr_scheduler.functions import LambdaLR as LambdaLR
from portanet.optim.lr_scheduler.functions import MultiplicativeLR as MultiplicativeLR
from portanet.optim.lr_scheduler.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from portanet.optim.schedule import LRScheduler as LRScheduler

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
