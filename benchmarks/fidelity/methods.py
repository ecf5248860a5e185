"""What the report calls the methods of benchmarks.rivals, and what each one is."""

METHODS = {
    "rise": ("RISE", "signatures 128/24/128, both channels, cosines"),
    "rise-rh": ("RISE (RH)", "the residual's channel alone"),
    "rise-gh": ("RISE (GH)", "the projected error's channel alone"),
    "rise-centred": ("RISE (centred)", "the pool's mean signature subtracted"),
    "rise-object": ("RISE (object)", "the query's loss on the fact's object alone"),
    "length": ("length", "the longest document first, whatever the query"),
    "random": ("random", "chance"),
    "bm25": ("BM25", "words; bm25s, English stop words"),
    "embedding": ("sentence embeddings", "cosine of all-MiniLM-L6-v2; the paper has E5-base-v2"),
    "hidden": ("hidden states", "cosine of the model's mean final hidden state; `Last` of Table 13"),
    "input-embedding": ("input embeddings", "cosine of the model's mean input embedding; `Embed` of Table 13"),
    "head-exact": ("exact LM head", "cosine of the LM head's whole gradient, nothing kept"),
    "sparse-rh-exact": ("exact sparse RH", "RH on its supports without sketches, nothing kept"),
    "grad-sketch": ("Grad-Sketch", "the LM head's gradient, sketched whole"),
    "pca": ("RISE (PCA)", "principal directions learnt from the pool in the place of CountSketch"),
    "tracin": ("TracIn", "inner product of all parameters' gradients, nothing kept"),
    "tracin-cosine": ("TracIn (cosine)", "the same of gradients at unit length"),
    "rapidin": ("RapidIn", "gradients, each layer's at unit length, compressed to 65,536 numbers"),
    "zo-inf": ("ZO-Inf", "gradients from forward passes along four directions that texts share, compressed alike"),
    "zo-inf-own": ("ZO-Inf (own)", "the same along four directions of each text's own"),
    "trackstar": ("TrackStar", "projected gradients by bergson 2.5.1; `Base` of Table 15"),
    "trackstar-unit": ("TrackStar (unit)", "the same at unit length; `UnitNorm` of Table 15"),
    "logra": ("LoGra", "projected influences by dattri 0.3.0, 256 numbers a layer"),
    "ek-fac": ("EK-FAC", "influence functions by kronfluence 1.0.1, without the LM head"),
    "tmc-shapley": (
        "TMC-Shapley",
        "gains in 8 permutations (the paper: 32) of one step of gradient descent, truncated",
    ),
    "g-shapley": ("G-Shapley", "gains in 8 permutations (the paper: 32), along one pass of SGD"),
}
"""By the name that `python -m benchmarks.rivals --methods` takes: its name in the report, and what it is."""


def title(method: str) -> str:
    """Return a method's name in the report."""
    return METHODS[method][0] if method in METHODS else method
