"""Tables that lie at a server: named by a URL, read only, and only where the party's own operator says so."""
