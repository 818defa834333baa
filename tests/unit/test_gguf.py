import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from converted import load, logits_of
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from universality.core.errors import InputError
from universality.sources.gguf import PRE_TOKENIZERS
from universality.studies.models.stages.convert_gguf import command as convert

LAYERS, HEADS, KV_HEADS, WIDTH, MLP, CONTEXT = 2, 4, 2, 64, 96, 32
LLAMA_CPP_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def vocabulary() -> tuple[list[str], list[str]]:
    """Byte-level BPE: one control token, the 256 bytes, "10" and "ab" (and their merges)."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|end|>", *sorted(ByteLevel.alphabet()), "10", "ab"]
    return tokens, ["1 0", "a b"]


def small_model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary()[0]),
        hidden_size=WIDTH,
        intermediate_size=MLP,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=CONTEXT,
        initializer_range=0.3,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Reorder rows as llama.cpp stores q and k: (i, i + half) of a head become neighbours."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns).copy()


def write_gguf(path: Path, model: Any, pre: str = "smollm", quantised: bool = False) -> Path:
    tokens, merges = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Small Test Model")
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_merges(merges)
    control = [int(gguf.TokenType.CONTROL)] + [int(gguf.TokenType.NORMAL)] * (len(tokens) - 1)
    writer.add_token_types(control)
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        add(0)
    for name, array in llama_cpp_tensors(model).items():
        if quantised and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_cpp_tensors(model: Any) -> dict[str, np.ndarray]:
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(LAYERS):
        for name, short in LLAMA_CPP_NAMES.items():
            weight = state[f"model.layers.{layer}.{name}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(short)
            if heads:
                weight = interleaved(weight, heads)
            tensors[f"blk.{layer}.{short}.weight"] = weight
    return tensors


def test_weights_and_config_survive(tmp_path: Path) -> None:
    original = small_model()
    convert(write_gguf(tmp_path / "model", original), tmp_path / "out")
    converted, _ = load(tmp_path / "out")
    ids = [0, 5, 100, 7, 7, 200]
    np.testing.assert_allclose(
        logits_of(converted, ids), logits_of(original, ids), rtol=1e-5, atol=1e-4
    )
    assert converted.dtype == torch.float32
    assert not hasattr(converted.config, "quantization_config")
    assert converted.config.tie_word_embeddings


def test_quantised_weights_are_dequantised(tmp_path: Path) -> None:
    original = small_model()
    convert(write_gguf(tmp_path / "model", original, quantised=True), tmp_path / "out")
    converted, _ = load(tmp_path / "out")
    kind = gguf.GGMLQuantizationType.Q4_1
    for name, weight in original.model.layers[1].mlp.named_parameters():
        packed = gguf.quants.quantize(weight.detach().numpy(), kind)
        expected = gguf.quants.dequantize(packed, kind)
        found = converted.model.layers[1].mlp.get_parameter(name).detach().numpy()
        np.testing.assert_array_equal(found, expected)


def test_conversions_are_byte_identical(tmp_path: Path) -> None:
    # In two processes and from two folders: neither hash order nor paths may show.
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        file = write_gguf(tmp_path / name / f"{name}.gguf", small_model(), quantised=True)
        code = "from universality.cli import main; main()"
        command = [sys.executable, "-c", code, "run", "convert-gguf", "--file", str(file)]
        command += ["--out", str(tmp_path / name / "out")]
        subprocess.run(command, check=True, capture_output=True)
    files = sorted(path.name for path in (tmp_path / "one" / "out").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in files:
        content = (tmp_path / "one" / "out" / name).read_bytes()
        assert content == (tmp_path / "two" / "out" / name).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [("gpt-2", ["10", "1", "ab", "Ġ", "10"]), ("smollm", ["1", "0", "1", "ab", "Ġ", "1", "0"])],
)
def test_pre_tokenizer_is_the_file_s(tmp_path: Path, pre: str, pieces: list[str]) -> None:
    convert(write_gguf(tmp_path / "model", small_model(), pre), tmp_path / "out")
    _, tokenizer = load(tmp_path / "out")
    encoded = tokenizer("101ab 10", return_offsets_mapping=True)
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == pieces
    assert encoded["offset_mapping"][-1][1] == len("101ab 10")
    assert tokenizer.decode(encoded["input_ids"]) == "101ab 10"


def test_unknown_pre_tokenizer(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model", small_model(), "other")
    with pytest.raises(InputError, match="'other'; supported are gpt-2, smollm"):
        convert(file, tmp_path / "out")
    assert set(PRE_TOKENIZERS) == {"gpt-2", "smollm"}


@pytest.mark.parametrize("size", [0, 2, 100, 5000, -1000])
def test_cut_file(tmp_path: Path, size: int) -> None:
    file = write_gguf(tmp_path / "model", small_model())
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(InputError, match="model: not a GGUF file, or cut short"):
        convert(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_smollm2_knows_paris(smollm2_dir: Path) -> None:
    model, tokenizer = load(smollm2_dir)
    ids = tokenizer("The capital of France is")["input_ids"]
    assert tokenizer.decode([int(logits_of(model, ids)[-1].argmax())]) == " Paris"


def test_smollm2_tokenizer(smollm2_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    text = "In 1987, a café sold 12 pies."
    encoded = tokenizer(text, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert [text[i:j] for i, j in spans][2:6] == ["1", "9", "8", "7"]
    assert tokenizer.decode(encoded["input_ids"]) == text
