import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from universality.core.sampling import LlamaDecoder, draw, sample_documents
from universality.studies.models.stages.sample_corpus import command


@pytest.fixture(scope="module")
def grouped_query_model():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=48, tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 5000.0}, rms_norm_eps=1e-4,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@torch.inference_mode()
def test_decoder_gives_the_logits_of_hugging_face(grouped_query_model):
    ids = torch.randint(0, 300, (5, 12))
    expected = grouped_query_model(ids).logits
    decoder = LlamaDecoder(grouped_query_model, 5, 12)
    keep = torch.tensor([0, 3, 4])
    for position in range(12):
        if position == 6:  # documents may leave on the way
            decoder.compact(keep)
            ids, expected = ids[keep], expected[keep]
        logits = decoder.step(ids[:, position], position)
        torch.testing.assert_close(logits, expected[:, position], atol=1e-5, rtol=1e-4)


def test_draw_follows_the_distribution():
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0] + [-30.0] * 296]).repeat(40_000, 1)
    logits[:, 290] = 1.5  # beyond the first block, and in the padded last one
    p = torch.softmax(logits[0].double(), 0).numpy()
    uniform = torch.rand(len(logits), generator=torch.Generator().manual_seed(0))
    token = draw(logits.clone(), uniform).numpy()
    chosen = [0, 1, 2, 3, 290]
    counts = np.array([(token == t).sum() for t in chosen])
    assert counts.sum() == len(token)
    assert chisquare(counts, p[chosen] / p[chosen].sum() * len(token)).pvalue > 1e-3


def test_draw_at_the_edges_never_leaves_the_support():
    logits = torch.full((2, 300), -torch.inf)
    logits[:, [5, 200]] = 0.0
    assert draw(logits, torch.tensor([0.0, 1 - 1e-12], dtype=torch.float64)).tolist() == [5, 200]


def test_documents_end_at_a_stop_token_and_repeat_with_the_seed(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.model.embed_tokens.weight.data *= 20  # a peaked distribution over few tokens

    def sample(seed: int) -> list[list[int]]:
        random = torch.Generator().manual_seed(seed)
        return list(sample_documents(model, 40, 50, 1.0, 0, {0, 1, 7, 8, 9}, random))

    documents = sample(0)
    assert len(documents) == 40
    assert all(len(ids) <= 49 for ids in documents)
    assert not {0, 1, 7, 8, 9} & {token for ids in documents for token in ids}
    assert documents == sample(0)
    assert documents != sample(1)


def test_the_number_of_workers_changes_nothing(tiny_model, tmp_path):
    params = tmp_path / "params.yaml"
    section = "{model: m, n_tokens: 700, max_tokens: 20, batch_size: 8, temperature: 1.0, "
    params.write_text(f"sampled_corpora: {{c: {section}validation_fraction: 0.2, seed: 0}}}}")
    made = []
    for workers in (1, 2, 5):
        out = tmp_path / f"corpus{workers}"
        command("c", tiny_model, out, workers, params)
        files = {str(path.relative_to(out)): path for path in out.rglob("*") if path.is_file()}
        made.append({name: path.read_bytes() for name, path in files.items()})
    assert made[0] == made[1] == made[2]
    assert b'"n_tokens"' in b"".join(made[0].values())
