"""Channel roles (nuclei, vessels, probe), guessed from channel names; names of the channels of a prediction."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from napari_hrpn.slides.errors import SlideError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_hrpn.slides.slide import Slide

SD, UNLIKE = "sd", "unlike"
"""Names of further channels of a prediction: its standard deviation, between networks or of their errors on held-out
tumours, and the distance from the training."""


def predicted_name(target: str) -> str:
    """Name of the first channel of a prediction."""
    return f"predicted {target}"


def sd_channel(prediction: Slide) -> int | None:
    """Channel of a prediction that has its standard deviation; None if it has none."""
    return 1 if _further(prediction)[:1] == (SD,) else None


def unlike_channel(prediction: Slide) -> int | None:
    """Channel of a prediction that has the distance from the training; None if it has none."""
    return len(prediction.channel_names) - 1 if _further(prediction)[-1:] == (UNLIKE,) else None


def is_one_prediction(slide: Slide) -> bool:
    """Whether a slide has one channel, or the channels of a prediction, of which the first is to be measured."""
    return len(slide.channel_names) == 1 or bool(_further(slide))


def _further(prediction: Slide) -> tuple[str, ...]:
    names = prediction.channel_names[1:]
    return names if names in ((SD,), (UNLIKE,), (SD, UNLIKE)) else ()


@dataclass(frozen=True)
class ChannelRoles:
    """Indices of the channels by their role.

    Attributes
    ----------
    nuclei, vessels, probe : int or None
        Channel index; None if no channel is known to have this role.
    """

    nuclei: int | None = None
    vessels: int | None = None
    probe: int | None = None


# Each word is a pattern that has to match a whole word of a name, so that "FITC" is not found in "fitch".
# A marker names the structure that a channel shows, a dye only the label that was used, so markers have priority.
_MARKERS = {
    "nuclei": (
        r"dapi hoechst\d* h33342 h33258 hh3 syto\w* draq\d* topro\d* nucblue dna\d* histone\w* "
        r"h2b chromatin nuc nuclei nucleus nuclear"
    ),
    "vessels": (
        r"cd31 cd34 cd105 cd144 cd146 pecam\d* endomucin emcn endothel\w* vecadherin vwf willebrand erg "
        r"meca\d* lectin isolectin\w* ib4 vessels? vasculature vascular vasc blood"
    ),
    "probe": (
        r"qds?\d* qdots?\d* quantum\w* nano\w* nps? aunps? lnps? liposom\w* particles? dextran virus "
        r"viral aav\d* probe tracer drug cargo dox\w* albumin trastuzumab cetuximab"
    ),
}
_DYES = {
    "nuclei": r"spblue spectrumblue 405 af405 alexa405 fluor405 bfp",
    "vessels": r"spgreen spectrumgreen 488 af488 alexa488 fluor488 atto488 fitc e?gfp cy2 opal520",
    "probe": (
        r"sporange spectrumorange sp?red spectrumred tritc rhodamine\w* texasred txred cy3 cy5 cy7 mcherry tdtomato "
        r"rfp icg (af|alexa|fluor|atto|opal)?(5[4-9]|6[0-9]|7[0-9])\d"
    ),
}
# other structures that are often stained in tumours: a dye on one of these is not the probe
_OTHER_MARKERS = r"cd\d+[a-z]? ki67 her2 egfr (pan)?ck\d* cytokeratin a?sma actin tubulin foxp3 pdl?1 f480 iba1 lyve\d*"
_ALL_MARKERS = " ".join([*_MARKERS.values(), _OTHER_MARKERS])
_ALL_PATTERNS = " ".join([_ALL_MARKERS, *_DYES.values()])


def guess_roles(channel_names: Sequence[str]) -> ChannelRoles:
    """Guess the roles of channels from their names.

    Parameters
    ----------
    channel_names : sequence of str
        In the order of the channels.

    Returns
    -------
    ChannelRoles
        Roles; no channel has two. A marker (CD31, DAPI, dextran) has priority over a dye (AF488, SpGreen), and the
        first channel over later ones. Names without a known word, such as "Channel 0", give None. Words that all names
        share, such as the name of the file, do not count.
    """
    words = _distinctive_words(channel_names)
    marked = {index for index, of_name in enumerate(words) if _any_of(of_name, _ALL_MARKERS)}
    found: dict[str, int] = {}
    for patterns, taken in ((_MARKERS, set()), (_DYES, marked)):
        for role, pattern in patterns.items():
            free = (index for index in range(len(words)) if index not in taken | set(found.values()))
            match = next((index for index in free if _any_of(words[index], pattern)), None)
            if match is not None:
                found.setdefault(role, match)
    return ChannelRoles(**found)


def _any_of(words: Sequence[str], patterns: str) -> bool:
    return any(re.fullmatch(pattern, word) for pattern in patterns.split() for word in words)


def _distinctive_words(names: Sequence[str]) -> list[list[str]]:
    """Words of each name that not all names share, and joined neighbours: "Alexa Fluor 488" contains "fluor488"."""
    single = [re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKC", name).lower()) for name in names]
    shared = set.intersection(*map(set, single)) if len(single) > 1 else set()
    # a shared word with a meaning, such as "DAPI", must not be used again as part of a joined word
    meaning = {word for word in shared if _any_of([word], _ALL_PATTERNS)}
    found = []
    for words in single:
        joined = [first + second for first, second in pairwise(words) if not {first, second} & meaning]
        found.append([word for word in (*words, *joined) if word not in shared])
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def find_channel(slide: Slide, name_or_index: str) -> int:
    """Index of a channel that a user stated by name or index.

    Parameters
    ----------
    slide : Slide
        The slide.
    name_or_index : str
        Name of the channel, in upper or lower case and with accents in any encoding, or its index from 0.

    Returns
    -------
    int
        Index of the channel.

    Raises
    ------
    SlideError
        If no channel or several have this name; the message lists all channels.
    """
    wanted = " ".join(str(name_or_index).split())
    matches: list[int] = []
    for normalised in (_composed, _folded):
        matches = [i for i, name in enumerate(slide.channel_names) if normalised(name) == normalised(wanted)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            break
    if not matches and re.fullmatch(r"\d{1,9}", wanted) and int(wanted) < len(slide.channel_names):
        return int(wanted)
    listed = ", ".join(f"{index} = {name}" for index, name in enumerate(slide.channel_names))
    found = f"{len(matches)} channels called" if matches else "no channel"
    raise SlideError(f"{slide.source.name} has {found} {wanted!r}, expected one of {listed}: give its name or number.")
