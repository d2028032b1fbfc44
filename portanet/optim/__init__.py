"""Optimizers: from gradients to new values of parameters. One update rule a file, PyTorch's names."""

from portanet.optim import lr_scheduler as lr_scheduler
from portanet.optim.adam import Adam as Adam
from portanet.optim.adamw import AdamW as AdamW
from portanet.optim.optimizer import Optimizer as Optimizer
from portanet.optim.rmsprop import RMSprop as RMSprop
from portanet.optim.sgd import SGD as SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler"]
