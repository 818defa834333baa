import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from converted import load, logits_of
from transformers import AutoTokenizer

from universality.core.errors import InputError
from universality.sources.llama2c import half_split, read_checkpoint
from universality.sources.llama_tokenizer import read_tokenizer
from universality.studies.models.stages.convert_llama2c import command as convert

# dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size (negative: untied), seq_len
GROUPED_UNTIED = (16, 24, 2, 4, 2, -265, 12)
PIECES = [("<unk>", 0.0), ("\n<s>\n", 0.0), ("\n</s>\n", 0.0)]
PIECES += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
PIECES += [("ab", -1.0), (" a", -2.0), (" ", -3.0), ("a", -4.0), ("b", -5.0), ("é", -6.0)]
BOUND = 1.3  # nats per token of STORY; 1.11 (15M) and 1.05 (260K) were seen
STORY = (
    "One day, a little boy named Sam went to the park with his mom. He saw a big tree. "
    '"Can I climb it?" he asked. His mom said, "Yes, but be careful!" Sam climbed up and up. '
    "He was very happy. When he came down, his mom gave him a big hug, and they went home."
)


def write_checkpoint(path: Path, header: tuple[int, ...], seed: int = 0) -> Path:
    dim, hidden, layers, heads, kv_heads, vocab, context = header
    head = dim // heads
    sizes = [abs(vocab) * dim, layers * dim, layers * dim * dim]
    sizes += [layers * kv_heads * head * dim] * 2
    sizes += [layers * dim * dim, layers * dim, *[layers * hidden * dim] * 3, dim]
    sizes += [context * head // 2] * 2 + ([abs(vocab) * dim] if vocab < 0 else [])
    random = np.random.default_rng(seed)
    values = random.normal(scale=0.5, size=sum(sizes)).astype("<f4")
    path.write_bytes(struct.pack("<7i", *header) + values.tobytes())
    return path


def write_pieces(path: Path, pieces: list[tuple[str, float]]) -> Path:
    parts = [struct.pack("<i", 8)]
    for piece, score in pieces:
        parts.append(struct.pack("<fi", score, len(piece.encode())) + piece.encode())
    path.write_bytes(b"".join(parts))
    return path


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    weights = write_checkpoint(tmp_path / "weights", GROUPED_UNTIED)
    return weights, write_pieces(tmp_path / "tokenizer", PIECES)


def reference_logits(path: Path, ids: list[int]) -> np.ndarray:
    """llama2.c's own forward pass: interleaved rotary, one query position after the other."""
    c, w = read_checkpoint(path)
    heads, kv_heads, width = c.n_heads, c.n_kv_heads, c.dim // c.n_heads

    def norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return weight * x / np.sqrt((x * x).mean() + 1e-5)

    def rotate(x: np.ndarray, position: int) -> np.ndarray:
        out = x.reshape(-1, width).copy()
        for i in range(0, width, 2):
            angle = position * 10000.0 ** (-i / width)
            even, odd = x.reshape(-1, width)[:, i], x.reshape(-1, width)[:, i + 1]
            out[:, i] = even * np.cos(angle) - odd * np.sin(angle)
            out[:, i + 1] = even * np.sin(angle) + odd * np.cos(angle)
        return out

    stream = [w["embedding"][i].astype(float) for i in ids]
    for layer in range(c.n_layers):
        inputs = [norm(x, w["attention_norm"][layer]) for x in stream]
        keys = [rotate(w["k"][layer] @ x, t) for t, x in enumerate(inputs)]
        values = [(w["v"][layer] @ x).reshape(kv_heads, width) for x in inputs]
        for t, x in enumerate(inputs):
            queries, heads_out = rotate(w["q"][layer] @ x, t), []
            for h in range(heads):
                group = h // (heads // kv_heads)
                scores = np.array([queries[h] @ keys[s][group] for s in range(t + 1)])
                scores = np.exp((scores - scores.max()) / np.sqrt(width))
                weights = scores / scores.sum()
                heads_out.append(sum(a * values[s][group] for s, a in enumerate(weights)))
            stream[t] = stream[t] + w["o"][layer] @ np.concatenate(heads_out)
            y = norm(stream[t], w["mlp_norm"][layer])
            gate = w["gate"][layer] @ y
            hidden = gate / (1 + np.exp(-gate)) * (w["up"][layer] @ y)
            stream[t] = stream[t] + w["down"][layer] @ hidden
    unembedding = w["embedding"] if c.tied else w["unembedding"]
    return np.stack([unembedding @ norm(x, w["final_norm"]) for x in stream])


def test_half_split_by_hand() -> None:
    rows = np.arange(8.0)[:, None]
    assert half_split(rows, 4)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


@pytest.mark.parametrize("header", [GROUPED_UNTIED, (16, 24, 2, 2, 2, 265, 12)])
def test_logits_are_llama2c_s(tmp_path: Path, header: tuple[int, ...]) -> None:
    weights = write_checkpoint(tmp_path / "weights", header)
    convert(weights, write_pieces(tmp_path / "tokenizer", PIECES), tmp_path / "out")
    ids = [1, 260, 17, 264, 3, 3, 250]
    model, _ = load(tmp_path / "out")
    expected = reference_logits(weights, ids)
    np.testing.assert_allclose(logits_of(model, ids), expected, atol=1e-4 * abs(expected).max())


def test_conversions_are_byte_identical(small: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        convert(*small, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    for name in files:
        content = (tmp_path / "one" / name).read_bytes()
        assert content == (tmp_path / "two" / name).read_bytes()
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("size", [0, 27, 28, 1000, -4, 4])
def test_wrong_size(small: tuple[Path, Path], tmp_path: Path, size: int) -> None:
    weights, tokenizer = small
    content = weights.read_bytes()
    weights.write_bytes(content + bytes(4) if size == 4 else content[:size])
    with pytest.raises(InputError, match=r"weights: \d+ bytes"):
        convert(weights, tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "header", [(0,) * 7, (16, 24, 2, 3, 3, 265, 12), (16, 24, 2, 4, 3, 265, 12), (2**30,) * 7]
)
def test_not_a_header(small: tuple[Path, Path], tmp_path: Path, header: tuple[int, ...]) -> None:
    weights, tokenizer = small
    weights.write_bytes(struct.pack("<7i", *header) + bytes(100))
    with pytest.raises(InputError, match=r"not a llama2\.c header"):
        convert(weights, tokenizer, tmp_path / "out")


def test_merges_take_the_best_score(tmp_path: Path) -> None:
    file = write_pieces(tmp_path / "tokenizer", PIECES)
    tokenizer = read_tokenizer(file, len(PIECES))
    # "ab" scores better than " a", so it is merged first wherever both could be.
    assert tokenizer["model"]["merges"] == [["a", "b"], ["\u2581", "a"]]


def test_small_tokenizer(small: tuple[Path, Path], tmp_path: Path) -> None:
    convert(*small, tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    encoded = tokenizer("ab aé\n", return_offsets_mapping=True)
    newline = 3 + ord("\n")
    assert encoded["input_ids"] == [1, 261, 259, 260, 264, newline]
    assert encoded["offset_mapping"] == [(0, 0), (0, 1), (0, 2), (2, 4), (4, 5), (5, 6)]
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == "ab aé\n"


@pytest.mark.parametrize("cut", [6, 30, 1000, -1])
def test_cut_tokenizer(small: tuple[Path, Path], tmp_path: Path, cut: int) -> None:
    weights, tokenizer = small
    tokenizer.write_bytes(tokenizer.read_bytes()[:cut])
    with pytest.raises(InputError, match="tokenizer"):
        convert(weights, tokenizer, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tokenizer_of_another_size(small: tuple[Path, Path], tmp_path: Path) -> None:
    weights, tokenizer = small
    write_pieces(tokenizer, PIECES[:-1])
    with pytest.raises(InputError, match="264 tokens, but the model has 265"):
        convert(weights, tokenizer, tmp_path / "out")
    tokenizer.write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"no model\.vocab"):
        convert(weights, tokenizer, tmp_path / "out")


def cross_entropy(directory: Path, texts: list[str]) -> float:
    """Mean nats per token: BOS first, up to 256 tokens."""
    model, tokenizer = load(directory)
    losses = []
    for text in texts:
        ids = tokenizer(text)["input_ids"][:256]
        assert ids[0] == tokenizer.bos_token_id == 1
        logits = torch.from_numpy(logits_of(model, ids))
        target = torch.tensor(ids[1:])
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], target, reduction="none"))
    return float(torch.cat(losses).mean())


def test_stories15m_cross_entropy(stories15m_dir: Path, artifact: Callable[[str], Path]) -> None:
    stories = json.loads(artifact("real_stories").read_text(encoding="utf-8"))
    assert cross_entropy(stories15m_dir, stories[:60]) == pytest.approx(1.289, abs=0.02)


def test_stories15m_knows_simple_stories(stories15m_dir: Path) -> None:
    # Needs no artifact beyond the model: a wrong rotary order costs two nats.
    assert cross_entropy(stories15m_dir, [STORY]) < BOUND


def test_stories260k_cross_entropy(stories260k_dir: Path) -> None:
    assert cross_entropy(stories260k_dir, [STORY]) < BOUND


def test_stories15m_offsets(stories15m_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(stories15m_dir)
    encoded = tokenizer(STORY, return_offsets_mapping=True)
    spans = encoded["offset_mapping"][1:]
    assert "".join(STORY[start:stop] for start, stop in spans) == STORY
    assert tokenizer.decode(encoded["input_ids"], skip_special_tokens=True) == STORY


def test_stories15m_through_the_bridge(stories15m_dir: Path) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    model, tokenizer = load(stories15m_dir)
    ids = tokenizer(STORY)["input_ids"]
    expected = logits_of(model, ids)
    bridge = TransformerBridge.boot_transformers(
        str(stories15m_dir), hf_model=model, tokenizer=tokenizer, device="cpu"
    )
    with torch.inference_mode():
        logits = bridge(torch.tensor([ids]))[0].numpy()
    assert abs(logits - expected).max() < 1e-4


def llama2c_encode(pieces: list[tuple[str, float]], text: str) -> list[int]:
    """Encode as llama2.c does: of all neighbours that make a token, merge the best scored."""
    ids = {piece: index for index, (piece, _) in enumerate(pieces)}
    tokens = [ids[" "]]
    for character in text:
        found = ids.get(character)
        tokens += [found] if found is not None else [byte + 3 for byte in character.encode()]
    while True:
        merged = [pieces[a][0] + pieces[b][0] for a, b in pairwise(tokens)]
        places = [place for place, piece in enumerate(merged) if piece in ids]
        if not places:
            return [1, *tokens]
        best = max(places, key=lambda place: (pieces[ids[merged[place]]][1], -place))
        tokens[best : best + 2] = [ids[merged[best]]]


def test_tok512_encodes_as_llama2c(stories260k_dir: Path, artifact: Callable[[str], Path]) -> None:
    content = artifact("tok512").read_bytes()
    pieces, offset = [], 4
    while offset < len(content):
        score, length = struct.unpack_from("<fi", content, offset)
        pieces.append((content[offset + 8 : offset + 8 + length].decode(), score))
        offset += 8 + length
    tokenizer = AutoTokenizer.from_pretrained(stories260k_dir)
    texts = [STORY, "naïve 😀\n\tTimmy  said “Wow…”"]
    texts += json.loads(artifact("real_stories").read_text(encoding="utf-8"))[:20]
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids == llama2c_encode(pieces, text)
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
