"""The SAE architectures, all of them SAELens' classes."""

from typing import Any

from universality.core.randomness import derive_seed
from universality.studies.saes.params.saes import Recipe, SaeTraining


def new_sae(
    recipe: Recipe,
    params: SaeTraining,
    n_steps: int,
    d_in: int,
    hook: str,
    model: str,
    seed: int,
) -> Any:
    """Return an untrained SAELens training SAE, its weights drawn from `seed` and the hook.

    `n_steps` of training in all decide how long L1 and L0 losses warm up.
    """
    import torch

    config_class, sae_class, options = _choose(recipe, params, n_steps, d_in)
    config = config_class(
        d_in=d_in,
        d_sae=d_in * recipe.expansion,
        normalize_activations=params.normalize_activations,
        apply_b_dec_to_input=params.apply_b_dec_to_input,
        device="cpu",
        **options,
    )
    config.metadata.model_name = model
    config.metadata.hook_name = hook
    torch.manual_seed(derive_seed(seed, "sae", hook))  # SAELens initialises from global state
    return sae_class(config)


def _choose(
    recipe: Recipe, params: SaeTraining, n_steps: int, d_in: int
) -> tuple[Any, Any, dict[str, Any]]:
    import sae_lens as lens

    warmup = round(params.sparsity_warmup_fraction * n_steps)
    l1 = {"l1_coefficient": recipe.sparsity, "l1_warm_up_steps": warmup}
    aux = {"aux_loss_coefficient": params.aux_coefficient}
    match recipe.architecture:
        case "standard":
            return lens.StandardTrainingSAEConfig, lens.StandardTrainingSAE, l1
        case "gated":
            return lens.GatedTrainingSAEConfig, lens.GatedTrainingSAE, l1
        case "jumprelu":
            options = {
                "l0_coefficient": recipe.sparsity,
                "l0_warm_up_steps": warmup,
                "jumprelu_bandwidth": params.jumprelu_bandwidth,
                "jumprelu_init_threshold": params.jumprelu_threshold,
            }
            return lens.JumpReLUTrainingSAEConfig, lens.JumpReLUTrainingSAE, options
        case "topk":
            options = {"k": int(recipe.sparsity), **aux}
            return lens.TopKTrainingSAEConfig, lens.TopKTrainingSAE, options
        case "batchtopk":
            options = {"k": recipe.sparsity, **aux}
            return lens.BatchTopKTrainingSAEConfig, lens.BatchTopKTrainingSAE, options
        case "matryoshka":
            d_sae = d_in * recipe.expansion
            inner = {max(1, round(share * d_sae)) for share in params.matryoshka_levels}
            options = {
                "k": recipe.sparsity,
                "matryoshka_widths": sorted(inner | {d_sae}),
                **aux,
            }
            config = lens.MatryoshkaBatchTopKTrainingSAEConfig
            return config, lens.MatryoshkaBatchTopKTrainingSAE, options
