from dataclasses import replace

import pytest

from risedb.config import Identity, ReadoutConfig, ScoreConfig, SketchConfig, StoreConfig
from risedb.errors import InvalidInput

IDENTITY = Identity(
    readout=ReadoutConfig(tau=0.5), sketch=SketchConfig.parse("compact", seed=7), model="m", tokenizer="t"
)

OTHER_NORM = replace(IDENTITY, readout=ReadoutConfig(factor_norm="none"))


def test_later_choices_are_kept_where_they_are_not_the_default():
    assert {"factor_norm", "gh_through"}.isdisjoint(IDENTITY.as_stored())
    assert Identity.from_dict(IDENTITY.as_stored()) == IDENTITY
    assert OTHER_NORM.as_stored()["factor_norm"] == "none"
    assert "gh_through" not in OTHER_NORM.as_stored()


def test_identity_comes_back_from_its_dict():
    assert Identity.from_dict(IDENTITY.as_dict()) == IDENTITY
    assert Identity.from_dict(OTHER_NORM.as_stored()) == OTHER_NORM
    with pytest.raises(InvalidInput, match="lacks 'tau'"):
        Identity.from_dict({name: value for name, value in IDENTITY.as_dict().items() if name != "tau"})


def test_differences_name_every_number_that_differs():
    other = Identity(readout=ReadoutConfig(), sketch=IDENTITY.sketch, model="other", tokenizer="t")
    assert IDENTITY.differences(IDENTITY) == []
    assert IDENTITY.differences(other) == [
        "tau: 0.5 in the index, 1.0 asked for",
        "model: m in the index, other asked for",
    ]
    assert replace(IDENTITY, readout=ReadoutConfig()).differences(OTHER_NORM) == [
        "factor_norm: unit in the index, none asked for"
    ]


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (ReadoutConfig, {"tau": 0}),
        (ReadoutConfig, {"tau": float("nan")}),
        (ReadoutConfig, {"rho_cum": 0}),
        (ReadoutConfig, {"rho_cum": 1.01}),
        (ReadoutConfig, {"min_keep": 0}),
        (ReadoutConfig, {"k_max": 1}),
        (ReadoutConfig, {"k_max": 2.5}),
        (ReadoutConfig, {"seq_len": 1}),
        (ReadoutConfig, {"long": "wrap"}),
        (ReadoutConfig, {"factor_norm": "hidden"}),
        (ReadoutConfig, {"gh_through": "embeddings"}),
        (SketchConfig, {"kr": 0}),
        (SketchConfig, {"kh": True}),
        (SketchConfig, {"kr": 2**20, "kh": 2}),
        (SketchConfig, {"seed": -1}),
        (SketchConfig, {"seed": 2**64}),
        (StoreConfig, {"dtype": "float64"}),
        (StoreConfig, {"seal_bytes": 0}),
        (ScoreConfig, {"lambda_rh": -1}),
        (ScoreConfig, {"lambda_gh": float("inf")}),
        (ScoreConfig, {"lambda_rh": 1e-9}),
        (ScoreConfig, {"lambda_rh": 0, "lambda_gh": 0}),
    ],
)
def test_number_out_of_range_is_refused_and_quoted(kind, numbers):
    with pytest.raises(InvalidInput, match="it must be"):
        kind(**numbers)


@pytest.mark.parametrize("text", ["", "huge", "1/2", "1/2/3/4", "1/2/x", "-1/2/3", "1.5/2/3"])
def test_sketch_dimensions_that_cannot_be_read_are_refused(text):
    with pytest.raises(InvalidInput, match="neither Kr/Kh/Kg"):
        SketchConfig.parse(text)
