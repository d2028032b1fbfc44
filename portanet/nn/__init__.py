"""Networks: modules with PyTorch's names, arguments and state, over any array library."""

from portanet.nn import features as features, functional as functional, init as init, utils as utils
from portanet.nn.module import Module as Module
from portanet.nn.modules import *  # noqa: F403
from portanet.nn.parameter import Buffer as Buffer, Parameter as Parameter
from portanet.nn.features import FourierFeatures as FourierFeatures, PolynomialFeatures as PolynomialFeatures
from portanet.nn.features import RadialBasisFeatures as RadialBasisFeatures
