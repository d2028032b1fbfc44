"""Each kernel written in the standard alone: its definition, and the oracle that faster versions are tested against.

Every function takes the namespace first; callers use it without: ``namespace_of(x).scatter_add(x, i, v)``.
"""

from portanet.kernels.generic.amp import *  # noqa: F403
from portanet.kernels.generic.arrays import *  # noqa: F403
from portanet.kernels.generic.attention import *  # noqa: F403
from portanet.kernels.generic.bessel import *  # noqa: F403
from portanet.kernels.generic.compilers import *  # noqa: F403
from portanet.kernels.generic.convolution import *  # noqa: F403
from portanet.kernels.generic.cross_entropy import *  # noqa: F403
from portanet.kernels.generic.feeding import *  # noqa: F403
from portanet.kernels.generic.folding import *  # noqa: F403
from portanet.kernels.generic.gamma import *  # noqa: F403
from portanet.kernels.generic.layer_norm import *  # noqa: F403
from portanet.kernels.generic.linalg import *  # noqa: F403
from portanet.kernels.generic.memory import *  # noqa: F403
from portanet.kernels.generic.nn import *  # noqa: F403
from portanet.kernels.generic.norm import *  # noqa: F403
from portanet.kernels.generic.random import *  # noqa: F403
from portanet.kernels.generic.recurrent import *  # noqa: F403
from portanet.kernels.generic.special import *  # noqa: F403
