"""GGUF files of Llama-style models, dequantised and written as a Hugging Face directory."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": _BYTE_LEVEL,
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    },
}
"""GGUF's `tokenizer.ggml.pre` -> `pre_tokenizer` of tokenizer.json.

transformers ignores that field and splits every text as GPT-2 does, which is wrong for SmolLM:
it was trained on numbers split into digits.
"""

# Where and with what the file was read; the rest of config.json describes the model.
_INCIDENTAL = (
    "_name_or_path",
    "_model_name_or_path",
    "quantization_config",
    "transformers_version",
)


def read_pre_tokenizer(path: Path) -> dict[str, Any]:
    """Return the `pre_tokenizer` that a GGUF file asks for.

    A file that is no GGUF, is cut short or asks for an unknown one is an `InputError`.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except (IndexError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a GGUF file, or cut short ({error})") from error
    field = reader.get_field("tokenizer.ggml.pre")
    name = field.contents() if field else None
    if name not in PRE_TOKENIZERS:
        known = ", ".join(PRE_TOKENIZERS)
        raise InputError(f"{path}: tokenizer.ggml.pre is {name!r}; supported are {known}")
    return PRE_TOKENIZERS[name]


def load(path: Path) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load model (dequantised to float32) and tokenizer of a GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {
        "pretrained_model_name_or_path": path.parent,
        "gguf_file": path.name,
        "local_files_only": True,
    }
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(**where)


def hf_config(model: "PreTrainedModel") -> dict[str, Any]:
    """Return config.json, without the quantisation flag and without where it came from."""
    config = model.config.to_diff_dict()
    kept = {name: value for name, value in config.items() if name not in _INCIDENTAL}
    return {**kept, "architectures": [type(model).__name__]}


def hf_weights(model: "PreTrainedModel") -> dict[str, np.ndarray]:
    """Return the weights; a tied unembedding is left out, since config.json says that it is."""
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    state = model.state_dict()
    return {name: value.numpy() for name, value in state.items() if name not in tied}


def hf_tokenizer(
    tokenizer: "PreTrainedTokenizerBase", pre_tokenizer: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return tokenizer.json and tokenizer_config.json."""
    backend: Any = tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "chat_template": tokenizer.chat_template,
        **{name: str(token) for name, token in tokenizer.special_tokens_map.items()},
    }
    return {**json.loads(backend.to_str()), "pre_tokenizer": pre_tokenizer}, config
