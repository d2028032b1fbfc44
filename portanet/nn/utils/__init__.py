"""Helpers around networks: gradients clipped, weights reparametrised or pruned, activations read out by name."""

from portanet.nn.utils import parametrizations as parametrizations
from portanet.nn.utils import parametrize as parametrize
from portanet.nn.utils import prune as prune
from portanet.nn.utils import rnn as rnn
from portanet.nn.utils import stateless as stateless
from portanet.nn.utils.clip_grad import *  # noqa: F403
from portanet.nn.utils.convert_parameters import *  # noqa: F403
from portanet.nn.utils.fusion import *  # noqa: F403
from portanet.nn.utils.inspection import *  # noqa: F403
from portanet.nn.utils.reparametrization import *  # noqa: F403
