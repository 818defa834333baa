"""The weights of SAEs and of MLPs as arrays, without the libraries that run them.

Importing these libraries takes longer than all that is done with the weights.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universality.core.errors import InputError
from universality.core.io import open_arrays, read_arrays, require

_MLP_OUTPUT = r"\.{layer}\.mlp\.(down_proj|c_proj|dense_4h_to_h|fc_out|fc2)\.weight$"
"""Names of an MLP's output matrix in the model families of transformers."""


@dataclass(frozen=True)
class SaeWeights:
    """An SAE's weights, one row per feature."""

    encoder: np.ndarray
    """Shape `(d_sae, d_in)`."""
    decoder: np.ndarray
    """Shape `(d_sae, d_in)`."""
    bias: np.ndarray
    """Encoder bias `(d_sae,)`; a gated SAE's is that of its gate."""


def read_weights(path: Path) -> SaeWeights:
    """Read the weights of an SAE in SAELens format, float64."""
    file = path / "sae_weights.safetensors"
    arrays = {name: array.astype(np.float64) for name, array in read_arrays(file).items()}
    bias = arrays.get("b_enc", arrays.get("b_gate"))
    if bias is None or not {"W_enc", "W_dec"} <= arrays.keys():
        raise InputError(
            f"{file}: holds {', '.join(sorted(arrays)) or 'nothing'}; "
            "expected W_enc, W_dec and b_enc or b_gate"
        )
    return SaeWeights(encoder=arrays["W_enc"].T, decoder=arrays["W_dec"], bias=bias)


def mlp_output(model: Path, layer: int, d_model: int) -> np.ndarray:
    """Return what each neuron of an MLP writes, `(d_mlp, d_model)`, of a Hugging Face directory."""
    pattern = re.compile(_MLP_OUTPUT.replace("{layer}", str(layer)))
    for path in sorted(require(model).glob("*.safetensors")):
        with open_arrays(path, "pt") as file:  # numpy has no bfloat16
            found = [name for name in file.keys() if pattern.search(name)]  # noqa: SIM118
            if found:
                matrix = file.get_tensor(found[0]).double().numpy()
                break
    else:
        raise InputError(f"{model}: no output matrix of the MLP of layer {layer} in safetensors")
    if d_model not in matrix.shape:
        raise InputError(
            f"{model}: {found[0]} has shape {matrix.shape}; expected one side of {d_model}"
        )
    # Linear layers are stored (out, in), GPT-2's convolutions (in, out).
    return matrix.T if matrix.shape[0] == d_model else matrix
