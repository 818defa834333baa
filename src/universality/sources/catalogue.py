"""The entries of data/sources.yaml: what each artifact is and where it can be had."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from universality.core.params.base import Section


class HubPlace(Section):
    """A file of a model repository on the Hugging Face hub."""

    hub: Annotated[str, Field(description="owner/name", pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: Annotated[str, Field(description="commit, tag or branch")]
    file: Annotated[str, Field(description="path of the file inside the repository")]

    def __str__(self) -> str:
        return f"hub {self.hub}@{self.revision} {self.file}"


class PypiPlace(Section):
    """A file inside a wheel or source distribution of the Python package index."""

    pypi: Annotated[str, Field(description="name==version", pattern=r"^[\w.-]+==[\w.]+$")]
    member: Annotated[str, Field(description="path of the file inside the archive")]
    archive_sha256: Annotated[
        str | None,
        Field(
            description="of a source distribution: pip runs code of it, so not before the hash is "
            "compared; without it, only wheels are taken",
            pattern="^[0-9a-f]{64}$",
        ),
    ] = None

    def __str__(self) -> str:
        return f"pypi {self.pypi} {self.member}"


class NpmPlace(Section):
    """A file, or a range of its bytes, inside a package of the npm registry."""

    npm: Annotated[str, Field(description="name@version", pattern=r"^(@[\w.-]+/)?[\w.-]+@[\w.-]+$")]
    member: Annotated[str, Field(description="path of the file inside the archive")]
    bytes: Annotated[
        tuple[int, int] | None, Field(description="first byte and the byte after the last")
    ] = None

    @model_validator(mode="after")
    def _ordered(self) -> "NpmPlace":
        if self.bytes and not 0 <= self.bytes[0] < self.bytes[1]:
            raise ValueError("bytes must be [start, stop] with 0 <= start < stop")
        return self

    def __str__(self) -> str:
        return f"npm {self.npm} {self.member}"


def _kind(value: Any) -> str | None:
    """Return which of hub, pypi and npm a place is, by its key."""
    keys = value if isinstance(value, dict) else vars(value) if hasattr(value, "__dict__") else ()
    return next((kind for kind in ("hub", "pypi", "npm") if kind in keys), None)


Place = Annotated[
    Annotated[HubPlace, Tag("hub")]
    | Annotated[PypiPlace, Tag("pypi")]
    | Annotated[NpmPlace, Tag("npm")],
    Discriminator(
        _kind,
        custom_error_type="place",
        custom_error_message="a place has one of the keys hub, pypi, npm",
    ),
]


class Artifact(Section):
    """One external file, pinned by its hash."""

    description: Annotated[str, Field(description="what it is")]
    sha256: Annotated[str, Field(description="of the file that is used", pattern="^[0-9a-f]{64}$")]
    bytes: Annotated[int | None, Field(ge=1, description="its size, where known")] = None
    licence: Annotated[str, Field(description="its licence")]
    places: Annotated[list[Place], Field(description="where it can be had, best first")]
