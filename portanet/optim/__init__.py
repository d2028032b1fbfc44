"""Optimizers: from gradients to new values of parameters. One update rule a file, PyTorch's names."""

from portanet.optim import lr_scheduler as lr_scheduler
from portanet.optim import swa_utils as swa_utils
from portanet.optim.adadelta import Adadelta as Adadelta
from portanet.optim.adafactor import Adafactor as Adafactor
from portanet.optim.adagrad import Adagrad as Adagrad
from portanet.optim.adam import Adam as Adam
from portanet.optim.adamax import Adamax as Adamax
from portanet.optim.adamw import AdamW as AdamW
from portanet.optim.asgd import ASGD as ASGD
from portanet.optim.lbfgs import LBFGS as LBFGS
from portanet.optim.lion import Lion as Lion
from portanet.optim.minimize import scipy_minimize as scipy_minimize
from portanet.optim.muon import Muon as Muon
from portanet.optim.nadam import NAdam as NAdam
from portanet.optim.optimizer import Optimizer as Optimizer
from portanet.optim.radam import RAdam as RAdam
from portanet.optim.rmsprop import RMSprop as RMSprop
from portanet.optim.rprop import Rprop as Rprop
from portanet.optim.sgd import SGD as SGD

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "lr_scheduler", "scipy_minimize", "swa_utils",
]  # fmt: skip
