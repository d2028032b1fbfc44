"""The mathematics of layers and losses as plain functions, under PyTorch's names, on raw arrays and Tensors alike."""

from portanet.nn.functional.activation import *  # noqa: F403
from portanet.nn.functional.attention import *  # noqa: F403
from portanet.nn.functional.conv import *  # noqa: F403
from portanet.nn.functional.ctc import *  # noqa: F403
from portanet.nn.functional.distance import *  # noqa: F403
from portanet.nn.functional.dropout import *  # noqa: F403
from portanet.nn.functional.embedding_losses import *  # noqa: F403
from portanet.nn.functional.likelihood_losses import *  # noqa: F403
from portanet.nn.functional.linear import *  # noqa: F403
from portanet.nn.functional.loss import *  # noqa: F403
from portanet.nn.functional.many_classes import *  # noqa: F403
from portanet.nn.functional.margin_losses import *  # noqa: F403
from portanet.nn.functional.multihead import *  # noqa: F403
from portanet.nn.functional.norm import *  # noqa: F403
from portanet.nn.functional.pooling import *  # noqa: F403
from portanet.nn.functional.position import *  # noqa: F403
from portanet.nn.functional.randomized import *  # noqa: F403
from portanet.nn.functional.rational import *  # noqa: F403
from portanet.nn.functional.recurrent import *  # noqa: F403
from portanet.nn.functional.recurrent_cells import *  # noqa: F403
from portanet.nn.functional.shrinkage import *  # noqa: F403
from portanet.nn.functional.shuffle import *  # noqa: F403
from portanet.nn.functional.sparse import *  # noqa: F403
