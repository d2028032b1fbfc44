"""The layers, one file a family: each is its state, and one call into `portanet.nn.functional`."""

from portanet.nn.modules.activation import *  # noqa: F403
from portanet.nn.modules.attention import *  # noqa: F403
from portanet.nn.modules.container import *  # noqa: F403
from portanet.nn.modules.conv import *  # noqa: F403
from portanet.nn.modules.distance import *  # noqa: F403
from portanet.nn.modules.dropout import *  # noqa: F403
from portanet.nn.modules.embedding_losses import *  # noqa: F403
from portanet.nn.modules.flatten import *  # noqa: F403
from portanet.nn.modules.likelihood_losses import *  # noqa: F403
from portanet.nn.modules.linear import *  # noqa: F403
from portanet.nn.modules.loss import *  # noqa: F403
from portanet.nn.modules.many_classes import *  # noqa: F403
from portanet.nn.modules.margin_losses import *  # noqa: F403
from portanet.nn.modules.normalization import *  # noqa: F403
from portanet.nn.modules.pooling import *  # noqa: F403
from portanet.nn.modules.position import *  # noqa: F403
from portanet.nn.modules.randomized import *  # noqa: F403
from portanet.nn.modules.rational import *  # noqa: F403
from portanet.nn.modules.recurrent import *  # noqa: F403
from portanet.nn.modules.recurrent_cells import *  # noqa: F403
from portanet.nn.modules.shrinkage import *  # noqa: F403
from portanet.nn.modules.shuffle import *  # noqa: F403
from portanet.nn.modules.sparse import *  # noqa: F403
from portanet.nn.modules.transformer import *  # noqa: F403
