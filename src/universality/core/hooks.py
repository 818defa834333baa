"""What the name of a hook says, `blocks.3.hook_mlp_out`: its layer, its site, its short ids."""


def sae_id(hook: str, seed: int) -> str:
    """Return the id of an SAE: `blocks.3.hook_mlp_out`, seed 1 -> `l3_mlp_out_seed1`."""
    return f"{hook_id(hook)}_seed{seed}"


def hook_id(hook: str) -> str:
    """Return a hook's short name: `blocks.3.hook_mlp_out` -> `l3_mlp_out`."""
    _, layer, *site = hook.split(".")
    return f"l{layer}_{'_'.join(site).removeprefix('hook_')}"


def layer(hook: str) -> int:
    """Return the block that a hook is in: `blocks.1.mlp.hook_post` -> 1."""
    return int(hook.split(".")[1])


def site(hook: str) -> str:
    """Return where in a block a hook is: `blocks.1.mlp.hook_post` -> `mlp.hook_post`."""
    return hook.split(".", 2)[2]


def place(hook: str) -> dict[str, str | int]:
    """Return the columns by which tables say where something sits: hook, layer, site."""
    return {"hook": hook, "layer": layer(hook), "site": site(hook)}
