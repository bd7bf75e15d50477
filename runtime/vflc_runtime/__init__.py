"""Runs bundles. Imports nothing of the compiler, so that it installs alone at a party."""

import vflc_common as vflc_common  # before onnxruntime, which it keeps from telling of sessions
