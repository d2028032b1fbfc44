"""The mathematics of layers and losses as plain functions, under PyTorch's names, on raw arrays and Tensors alike."""

from portanet.nn.functional.activation import *  # noqa: F403
from portanet.nn.functional.attention import *  # noqa: F403
from portanet.nn.functional.conv import *  # noqa: F403
from portanet.nn.functional.dropout import *  # noqa: F403
from portanet.nn.functional.fold import *  # noqa: F403
from portanet.nn.functional.linear import *  # noqa: F403
from portanet.nn.functional.loss import *  # noqa: F403
from portanet.nn.functional.norm import *  # noqa: F403
from portanet.nn.functional.padding import *  # noqa: F403
from portanet.nn.functional.pooling import *  # noqa: F403
from portanet.nn.functional.rational import *  # noqa: F403
from portanet.nn.functional.recurrent import *  # noqa: F403
from portanet.nn.functional.sparse import *  # noqa: F403
