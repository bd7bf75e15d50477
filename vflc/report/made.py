"""How a run was made: settings, versions, machine and digests."""

from __future__ import annotations

from vflc.report.elements import Html, code, joined, note, table
from vflc.report.shown import ShownRun

CALLED = {
    "digest": "digest of the manifest",
    "data": "SHA-256 of the encoded rows",
    "kept": "SHA-256 of the rows kept for validation",
    "given": "weights that it started from",
}


def made(run: ShownRun) -> Html:
    """The settings in run.json, the environment in metrics.json, and what the bundle is."""
    settings = [
        [CALLED.get(name, name), code(_written(value))]
        for name, value in run.settings.items()
        if name not in ("model", "digest")
    ]
    manifest = run.manifest
    digests = [
        ["digest of the manifest", code(manifest.digest)],
        ["SHA-256 of the spec", code(manifest.spec_sha256)],
        ["compiled by", f"vflc {manifest.vflc}, {manifest.precision}"],
    ]
    return joined([
        table(["setting", "value"], settings, "Settings"),
        table(["digest", "value"], digests, "What ran"),
        _environment(run),
    ])  # fmt: skip


def _environment(run: ShownRun) -> Html:
    found = (run.results or {}).get("environment")
    if found is None:
        return note("The environment is known of runs that ended, with a version that keeps it.")
    assert run.results is not None
    lines = [
        ["Python", found["python"]],
        ["machine", f"{found['system']}, {found['machine']}, {found['processors'] or '?'} processors"],
        ["packages", ", ".join(f"{name} {version}" for name, version in found["packages"].items())],
    ]
    if "factors" in run.results:
        lines.append(["products of", run.results["factors"]])
    if "kernels" in run.results:
        lines.append(["vflc's own operators", run.results["kernels"]])
    return table(["environment", "value|w"], lines, "Environment")


def _written(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
