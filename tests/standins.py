"""Stand-ins for what PyTorch and JAX hand to `pyx_deconv.convert`: they have its attributes, and no more."""

from types import SimpleNamespace

import numpy as np

from pyx_deconv import convert


class Tensor:
    """A tensor of PyTorch: no array before it is detached; of bfloat16, no array at all."""

    def __init__(self, array, dtype="torch.float32"):
        self.array, self.dtype = array, dtype

    def detach(self):
        return Detached(self.array, self.dtype)


class Detached(Tensor):
    def float(self):
        return Detached(self.array.astype(np.float32))

    def cpu(self):
        return self

    def numpy(self, force=False):
        if self.dtype == "torch.bfloat16":
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self.array


Tensor.numpy = lambda self, force: self.detach().numpy()


def torch_module(transposed, weight, bias=None, **settings):
    """A torch.nn.ConvTranspose or Conv of any rank."""
    rank = weight.ndim - 2
    defaults = {"stride": (1,) * rank, "padding": (0,) * rank, "dilation": (1,) * rank, "groups": 1}
    if transposed:
        defaults["output_padding"] = (0,) * rank
    return (
        SimpleNamespace(
            transposed=transposed,
            padding_mode="zeros",
            weight=Tensor(weight),
            bias=None if bias is None else Tensor(bias),
        )
        | defaults
        | settings
    )


class SimpleNamespace(SimpleNamespace):
    """One to which attributes can be added with |."""

    def __or__(self, more):
        return type(self)(**vars(self) | more)


class Array:
    """An array of JAX or an nnx.Param: no ndarray, and an array when it is indexed."""

    def __init__(self, array):
        self.array = array

    def __getitem__(self, index):
        return self.array[index]


class Module:
    """A flax module: linen's has settings only, nnx' its parameters as well."""

    strides = 1
    padding = "SAME"
    kernel_dilation = 1
    mask = None

    def __init__(self, **settings):
        self.use_bias = "bias" not in settings or settings["bias"] is not None
        vars(self).update(settings)


class ConvTranspose(Module):
    strides = kernel_dilation = None
    transpose_kernel = False


class Conv(Module):
    input_dilation = 1
    feature_group_count = 1


def flax_operator(kind, kernel, bias=None, *, nnx=False, **settings):
    if nnx:
        held = {"kernel": Array(kernel), "bias": None if bias is None else Array(bias)}
        return convert.from_jax(kind(**held, **settings))
    params = {"kernel": Array(kernel)} | ({} if bias is None else {"bias": Array(bias)})
    return convert.from_jax(kind(use_bias=bias is not None, **settings), {"params": params})
