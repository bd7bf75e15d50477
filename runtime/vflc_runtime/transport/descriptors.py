"""File descriptors: a listener's connections, whoever makes them, must leave enough for files."""

from __future__ import annotations

MOST = 1000
"""Connections that a listener holds at most; parties need two each."""
_WANTED = 1 << 16


def allowed_connections() -> int:
    """How many connections a listener may hold: half of this process's descriptors, at most `MOST`.

    Raises the soft limit of the process first, as far as the hard one lets it: a shell gives 1024.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    known = [limit for limit in (hard, _WANTED) if limit != resource.RLIM_INFINITY]
    if soft != resource.RLIM_INFINITY and soft < min(known):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(known), hard))
        soft = min(known)
    return MOST if soft == resource.RLIM_INFINITY else min(soft // 2, MOST)
