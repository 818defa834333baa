"""Parameters of the comparison of remedies: residual SAEs and orthogonal decoders."""

from typing import Annotated

from pydantic import Field

from universality.core.params.base import Id, Section


class SaeRemedies(Section):
    """Which SAEs of the grid are the plain ones, and with what they are compared."""

    grid: Annotated[Id, Field(description="key of `sae_grids`; its first hook is studied")]
    family: Annotated[Id, Field(description="family of the grid that is improved upon")]
    sparsity: Annotated[float, Field(gt=0, description="which of its SAEs")]
    expansion: Annotated[int, Field(ge=1, description="which of its SAEs")]
    orthogonal_family: Annotated[
        Id, Field(description="family trained with an orthogonality penalty, otherwise alike")
    ]
    n_null: Annotated[int, Field(ge=19, description="random decoders of the null")]
    seed: Annotated[int, Field(ge=0, description="of null and bootstrap")]
