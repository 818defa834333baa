"""The graph of concepts: WordNet's synsets, each with the tokens that name it or a kind of it.

Park, Choe, Jiang & Veitch 2024 (arXiv 2406.01506), section 5: Y(w) are the tokens of all hyponyms,
synsets with few are left out, and synsets with the same tokens are one node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from universality.core.errors import InputError
from universality.sources.wordnet import Synset


@dataclass(frozen=True)
class Concepts:
    """Nodes with their tokens; a node's parents come before it, and the root first."""

    names: list[str]
    """Of each node, `mammal.n.01`: the most general of its synsets."""
    merged: list[list[str]]
    """The names of all its synsets, which have the same tokens."""
    members: list[np.ndarray]
    """Y(w), ascending token ids; those of a parent contain its children's."""
    parents: list[list[int]]
    """Nodes right above, `[]` of a root."""

    @property
    def tokens(self) -> np.ndarray:
        """All tokens of the graph, ascending."""
        return np.unique(np.concatenate(self.members))

    @property
    def edges(self) -> np.ndarray:
        """Every child with every of its parents, `(n_edges, 2)`."""
        pairs = [(child, parent) for child, some in enumerate(self.parents) for parent in some]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    @property
    def chains(self) -> np.ndarray:
        """Every child with every of its parents and of theirs, `(n_chains, 3)`."""
        found = [
            (child, parent, grandparent)
            for child, parent in self.edges.tolist()
            for grandparent in self.parents[parent]
        ]
        return np.array(found, dtype=np.int64).reshape(-1, 3)

    def find(self, name: str) -> int:
        """Return the node that has the synset `name`; InputError where there is none."""
        for node, names in enumerate(self.merged):
            if name in names:
                return node
        raise InputError(f"no concept {name!r}: it has too few tokens, or WordNet does not know it")


def synset_names(
    synsets: Iterable[Synset], senses: Mapping[str, Sequence[int]], letter: str
) -> dict[int, str]:
    """Return offset -> `dog.n.01`: first word, part of speech, and which of its senses it is."""
    names = {}
    for synset in synsets:
        word = synset.words[0].lower()
        number = list(senses[word]).index(synset.offset) + 1
        names[synset.offset] = f"{word.replace(' ', '_')}.{letter}.{number:02d}"
    return names


def general_first(synsets: Sequence[Synset]) -> list[Synset]:
    """Return `synsets` so that hypernyms come before their hyponyms; InputError on a circle."""
    by_offset = {synset.offset: synset for synset in synsets}
    below: dict[int, list[int]] = {offset: [] for offset in by_offset}
    waiting = {}
    for synset in synsets:
        above = [offset for offset in synset.hypernyms if offset in by_offset]
        waiting[synset.offset] = len(above)
        for offset in above:
            below[offset].append(synset.offset)
    ready = [offset for offset, n in waiting.items() if n == 0]
    for offset in ready:  # which grows
        for hyponym in below[offset]:
            waiting[hyponym] -= 1
            if waiting[hyponym] == 0:
                ready.append(hyponym)
    if len(ready) < len(by_offset):
        raise InputError("hypernyms of WordNet go round in a circle")
    return [by_offset[offset] for offset in ready]


def closures(
    ordered: Sequence[Synset], tokens_of: Mapping[str, Sequence[int]]
) -> dict[int, frozenset[int]]:
    """Return offset -> Y(w): the tokens of a synset's words and of all its hyponyms'.

    `ordered` as `general_first` has them; `tokens_of` word in lower case -> its tokens.
    """
    own: dict[int, set[int]] = {
        synset.offset: {t for word in synset.words for t in tokens_of.get(word.lower(), ())}
        for synset in ordered
    }
    for synset in reversed(ordered):
        for above in synset.hypernyms:
            if above in own:
                own[above] |= own[synset.offset]
    return {offset: frozenset(tokens) for offset, tokens in own.items()}


def build(
    ordered: Sequence[Synset],
    names: Mapping[int, str],
    tokens_of: Mapping[str, Sequence[int]],
    min_tokens: int,
) -> tuple[Concepts, dict[str, int]]:
    """Return the merged graph of synsets with more than `min_tokens` tokens, and what was counted.

    `ordered` as `general_first` has them. InputError if none has as many tokens.
    """
    of = closures(ordered, tokens_of)
    large = [synset for synset in ordered if len(of[synset.offset]) > min_tokens]
    place = {synset.offset: number for number, synset in enumerate(large)}
    concepts = merged(
        [[names[synset.offset]] for synset in large],
        [of[synset.offset] for synset in large],
        # A hypernym has all tokens of its hyponyms, so it is large as well.
        [[place[above] for above in synset.hypernyms if above in place] for synset in large],
        min_tokens,
    )
    counts = {
        "synsets": len(ordered),
        "words": len({word.lower() for synset in ordered for word in synset.words}),
        "words_with_tokens": sum(1 for tokens in tokens_of.values() if len(tokens)),
        "tokens": len({token for tokens in tokens_of.values() for token in tokens}),
        "synsets_with_tokens": sum(1 for tokens in of.values() if tokens),
        "large_synsets": len(large),
        "concepts": len(concepts.names),
        "edges": len(concepts.edges),
        "chains": len(concepts.chains),
        "concepts_with_several_parents": sum(len(some) > 1 for some in concepts.parents),
    }
    return concepts, counts


def merged(
    names: Sequence[Sequence[str]],
    tokens: Sequence[Iterable[int]],
    parents: Sequence[Sequence[int]],
    min_tokens: int,
) -> Concepts:
    """Return the nodes with more than `min_tokens` tokens, those with the same tokens as one.

    `parents` are indices, and come before their children. InputError if no node is left.
    """
    sets = [frozenset(some) for some in tokens]
    nodes: dict[frozenset[int], int] = {}
    node_of = {}
    found: list[tuple[list[str], list[int]]] = []
    # Large ones first: a node of several may have parents that come after the first of them.
    for number in sorted(range(len(sets)), key=lambda number: -len(sets[number])):
        own = sets[number]
        if len(own) <= min_tokens:
            break
        node = node_of[number] = nodes.setdefault(own, len(nodes))
        if node == len(found):
            found.append(([], []))
        found[node][0].extend(names[number])
        above = found[node][1]
        for parent in (node_of[above] for above in parents[number]):
            if parent != node and parent not in above:
                above.append(parent)
    if not found:
        raise InputError(f"no concept has more than {min_tokens} tokens of this tokenizer")
    return Concepts(
        [some[0] for some, _ in found],
        [some for some, _ in found],
        [np.array(sorted(own), dtype=np.int64) for own in nodes],
        [above for _, above in found],
    )


def restricted(concepts: Concepts, tokens: np.ndarray, min_tokens: int) -> Concepts:
    """Return the graph of those of `tokens` `(n,)` that are in it, merged anew."""
    return merged(
        concepts.merged,
        [np.intersect1d(some, tokens, assume_unique=True).tolist() for some in concepts.members],
        concepts.parents,
        min_tokens,
    )


def renumbered(concepts: Concepts, tokens: np.ndarray) -> Concepts:
    """Return the graph with places in `tokens` `(n,)`, ascending, instead of tokens; it has all."""
    members = [np.searchsorted(tokens, some) for some in concepts.members]
    return Concepts(concepts.names, concepts.merged, members, concepts.parents)
