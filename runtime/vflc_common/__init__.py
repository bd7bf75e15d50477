"""What compiler and runtime both say: the words of a bundle, its canonical form, its digest.

Neither numpy nor anything else that takes time is imported here, and neither of the two.
"""

import os

# onnxruntime since 1.29 tells its maker of every session, with hashes of graphs and weights; it looks once,
# as it is imported, whether it may
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
