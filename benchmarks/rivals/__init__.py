"""What else ranks a pool by influence or likeness, each behind one small interface: fit on a pool, score queries.

One method a file; nothing here is a dependency of risedb. What the methods need besides:
`pip install --group rivals`, then `pip install --no-deps -r benchmarks/rivals/no-deps.txt`.
`python -m benchmarks.rivals SHARED --methods bm25,hidden` runs them side by side.
"""
