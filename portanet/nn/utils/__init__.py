"""Helpers around networks: gradients clipped, parameters as one vector, activations read out by name."""

from portanet.nn.utils import rnn as rnn
from portanet.nn.utils.clip_grad import *  # noqa: F403
from portanet.nn.utils.convert_parameters import *  # noqa: F403
from portanet.nn.utils.inspection import *  # noqa: F403
