"""The section of a small dashboard, as tests of its content and of its page change it."""

HOOK = "blocks.1.hook_mlp_out"
SECTION = {
    "model": "tiny", "sae": "l1_mlp_out_seed0", "n_by_density": 0, "n_random": 0, "listed": [0],
    "n_top": 3, "n_intervals": 2, "n_per_interval": 2, "context": 2, "n_logits": 4,
    "n_nearest": 2, "n_null": 20, "n_bootstrap": 200, "seed": 0,
}  # fmt: skip
