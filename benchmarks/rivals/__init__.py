"""What else ranks a pool by influence or likeness, each behind one small interface: fit on a pool, score queries.

One method a file. Those of other projects need `pip install --group rivals`; nothing here is a dependency of risedb.
`python -m benchmarks.rivals SHARED --methods bm25,hidden` runs them side by side.
"""
