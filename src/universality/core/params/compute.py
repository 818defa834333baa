"""Parameters of the machine that computes."""

from typing import Annotated, Literal

from pydantic import Field

from universality.core.errors import InputError
from universality.core.params.base import Section


class Compute(Section):
    """Where forward passes over a corpus run; sums there differ in the last bits, so hashes do."""

    device: Annotated[
        Literal["cpu", "cuda"], Field(description="of forward passes: activations and features")
    ]

    def checked(self) -> str:
        """Return the device; raises InputError if this process sees none of that kind."""
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("compute.device is 'cuda', but PyTorch sees no CUDA device here")
        return self.device
