"""Networks: modules with PyTorch's names, arguments and state, over any array library."""

from portanet.nn import features as features
from portanet.nn import functional as functional
from portanet.nn import init as init
from portanet.nn import utils as utils
from portanet.nn.features import FourierFeatures as FourierFeatures
from portanet.nn.features import PolynomialFeatures as PolynomialFeatures
from portanet.nn.features import RadialBasisFeatures as RadialBasisFeatures
from portanet.nn.module import Module as Module
from portanet.nn.modules import *  # noqa: F403
from portanet.nn.parameter import Buffer as Buffer
from portanet.nn.parameter import Parameter as Parameter
from portanet.nn.parameter import UninitializedBuffer as UninitializedBuffer
from portanet.nn.parameter import UninitializedParameter as UninitializedParameter
