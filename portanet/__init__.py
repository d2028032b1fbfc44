"""portanet: neural networks and gradients on any array library that follows the Python Array API standard."""

from portanet import (
    amp as amp,
)
from portanet import (
    autograd as autograd,
)
from portanet import (
    backend as backend,
)
from portanet import (
    data as data,
)
from portanet import (
    metrics as metrics,
)
from portanet import (
    namespace as _namespace,
)
from portanet import (
    nn as nn,
)
from portanet import (
    optim as optim,
)
from portanet import (
    random as random,
)
from portanet import (
    testing as testing,
)
from portanet import (
    training as training,
)
from portanet.autocasting import autocast as autocast
from portanet.autograd import enable_grad as enable_grad
from portanet.autograd import inference_mode as inference_mode
from portanet.autograd import no_grad as no_grad
from portanet.backend import (
    available_backends as available_backends,
)
from portanet.backend import (
    get_backend as get_backend,
)
from portanet.backend import (
    get_default_dtype as get_default_dtype,
)
from portanet.backend import (
    set_backend as set_backend,
)
from portanet.backend import (
    set_default_dtype as set_default_dtype,
)
from portanet.backend import (
    use_backend as use_backend,
)
from portanet.compiled import CompiledStep as CompiledStep
from portanet.compiled import compile as compile
from portanet.doors import TransferError as TransferError
from portanet.doors import transfers as transfers
from portanet.dtypes import DType as DType
from portanet.memory import OutOfMemoryError as OutOfMemoryError
from portanet.namespace import *  # noqa: F403
from portanet.namespace import __array_namespace_info__ as __array_namespace_info__
from portanet.precision import get_float32_matmul_precision as get_float32_matmul_precision
from portanet.precision import set_float32_matmul_precision as set_float32_matmul_precision
from portanet.random import (
    manual_seed as manual_seed,
)
from portanet.random import (
    rand as rand,
)
from portanet.random import (
    randint as randint,
)
from portanet.random import (
    randn as randn,
)
from portanet.random import (
    randperm as randperm,
)
from portanet.serialization import load as load
from portanet.serialization import save as save
from portanet.tensor import Tensor as Tensor

__version__ = "0.1.0"
__array_api_version__ = "2025.12"

__all__ = [
    "DType", "OutOfMemoryError", "Tensor", "TransferError", "__array_api_version__", "__array_namespace_info__",
    "__version__", "amp", "autocast", "autograd", "available_backends", "backend", "data", "enable_grad",
    "get_backend", "get_default_dtype", "get_float32_matmul_precision", "inference_mode", "load", "manual_seed",
    "metrics", "nn", "no_grad", "optim", "rand", "randint", "randn", "random", "randperm", "save", "set_backend",
    "set_default_dtype", "set_float32_matmul_precision", "testing", "training", "transfers", "use_backend",
]  # fmt: skip
__all__ += _namespace.__all__
