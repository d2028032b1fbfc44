"""The layers, one file a family: each is its state, and one call into `portanet.nn.functional`."""

from portanet.nn.modules.activation import *  # noqa: F403
from portanet.nn.modules.attention import *  # noqa: F403
from portanet.nn.modules.container import *  # noqa: F403
from portanet.nn.modules.conv import *  # noqa: F403
from portanet.nn.modules.dropout import *  # noqa: F403
from portanet.nn.modules.flatten import *  # noqa: F403
from portanet.nn.modules.lazy import *  # noqa: F403
from portanet.nn.modules.linear import *  # noqa: F403
from portanet.nn.modules.loss import *  # noqa: F403
from portanet.nn.modules.normalization import *  # noqa: F403
from portanet.nn.modules.pooling import *  # noqa: F403
from portanet.nn.modules.rational import *  # noqa: F403
from portanet.nn.modules.recurrent import *  # noqa: F403
from portanet.nn.modules.sparse import *  # noqa: F403
from portanet.nn.modules.transformer import *  # noqa: F403
