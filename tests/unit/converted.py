"""Reading a converted model as its users do."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(directory: Path) -> tuple[Any, Any]:
    """Return the model and the tokenizer in `directory`."""
    model = AutoModelForCausalLM.from_pretrained(directory)
    return model.eval(), AutoTokenizer.from_pretrained(directory)


def logits_of(model: Any, ids: list[int]) -> np.ndarray:
    """Return the logits `(n_ids, n_vocabulary)` after each of `ids`."""
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].numpy()
