"""``risedb compact``: space back."""

import sys
from dataclasses import asdict

from risedb.cli import options
from risedb.cli.render import print_json


def compact(index: options.Index, dry_run: options.DryRun = False, json: options.Json = False) -> None:
    """Give the space of deleted and replaced documents back, and merge small segments.

    Queries run on meanwhile. Commits before this one can no longer be read with --at.
    """
    import risedb

    with risedb.open(index) as db:
        report = db.compact(preview=dry_run)
    if json:
        print_json({**asdict(report), "dry_run": dry_run})
        return
    doing = "would go" if dry_run else "are gone"
    freed = f"{'about ' if dry_run else ''}{report.freed_bytes / 2**20:,.1f} MiB"
    sys.stderr.write(
        f"segments: {report.segments_before:,} before, {report.segments_after:,} after; "
        f"{report.removed:,} dead rows {doing}; {freed} of segments freed\n"
    )
    if report.waiting:
        sys.stderr.write(
            f"{report.waiting:,} old segments are still read by other processes; the next writer removes them\n"
        )
