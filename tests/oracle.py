"""The method in NumPy float64, straight from DESIGN section 1 and Algorithm 2, with loops and nothing clever.

Imports nothing of RiseDB: what it shares with the product is the paper.
"""

import math

import numpy as np

MASK = 2**64 - 1
ROLE = {"r": 1, "h": 2, "g": 3}


def finish(z: int) -> int:
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & MASK
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def mix(x: int) -> int:
    return finish((x + 0x9E3779B97F4A7C15) & MASK)


def bucket_and_sign(seed: int, role: str, i: int, width: int) -> tuple[int, int]:
    key = mix(mix(seed) ^ ROLE[role])
    u = finish((key + (i + 1) * 0x9E3779B97F4A7C15) & MASK)
    return ((u >> 32) * width) >> 32, 1 if u % 2 == 0 else -1


def count_sketch(x, seed: int, role: str, width: int) -> np.ndarray:
    """Sketch a dict of coordinates or a dense vector."""
    sketch = np.zeros(width)
    for i, value in x.items() if isinstance(x, dict) else enumerate(x):
        bucket, sign = bucket_and_sign(seed, role, i, width)
        sketch[bucket] += sign * value
    return sketch


def unit(x: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(x)
    return x / length if length > 0 else x


def support(z, y: int, *, tau: float, rho_cum: float, min_keep: int, k_max: int) -> dict[int, float]:
    """Return ptilde on S_t, steps 1 and 2."""
    candidates = sorted(range(len(z)), key=lambda v: (-z[v], v))[:k_max]
    if y not in candidates:
        candidates[-1] = y
    top = max(z[v] for v in candidates)
    weights = {v: math.exp((z[v] - top) / tau) for v in candidates}
    total = sum(weights.values())
    kept, mass = [], 0.0
    for v in candidates:
        if rho_cum < 1 and mass >= rho_cum and len(kept) >= min_keep:
            break
        kept.append(v)
        mass += weights[v] / total
    if y not in kept:
        kept.append(y)
    total = sum(weights[v] for v in kept)
    return {v: weights[v] / total for v in kept}


def signature(hidden, logits, targets, rows, *, widths, seed=42, factor_norm="unit", **readout):
    """Return phi_RH and phi_GH of one document from its counted positions, steps 1 to 5.

    hidden (N, d), logits (N, V), targets (N,), rows (V, d) of the head or what GH goes through in its place, all
    float64; widths is (Kr, Kh, Kg).
    """
    kr, kh, kg = widths
    phi_rh, phi_gh = np.zeros((kr, kh)), np.zeros((kg, kh))
    for h, z, y in zip(hidden, logits, targets, strict=True):
        ptilde = support(z, int(y), **readout)
        residual = {v: p - (v == y) for v, p in ptilde.items()}
        residual[int(y)] = -sum(p for v, p in ptilde.items() if v != y)
        error = sum(r * rows[v] for v, r in residual.items())
        rhat = count_sketch(residual, seed, "r", kr)
        hhat = count_sketch(h, seed, "h", kh)
        ghat = count_sketch(error, seed, "g", kg)
        if factor_norm != "none":
            rhat, hhat, ghat = unit(rhat), unit(hhat), unit(ghat)
        if factor_norm == "residual":
            length = math.sqrt(sum(r**2 for r in residual.values()))
            rhat, ghat = length * rhat, length * ghat
        phi_rh += np.outer(rhat, hhat)
        phi_gh += np.outer(ghat, hhat)
    return phi_rh.reshape(-1), phi_gh.reshape(-1)


def score(rh_i, gh_i, rh_q, gh_q, *, lambda_rh=0.7, lambda_gh=1.0, normalize=True) -> float:
    """Return <phi_i, phi_q> of signatures before normalisation, step 6."""
    phi_i = np.concatenate([lambda_rh * rh_i, lambda_gh * gh_i])
    phi_q = np.concatenate([lambda_rh * rh_q, lambda_gh * gh_q])
    if normalize:
        phi_i, phi_q = unit(phi_i), unit(phi_q)
    return float(phi_i @ phi_q)
