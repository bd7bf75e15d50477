"""What compiler and runtime both say: the words of a bundle, its canonical form, its digest.

Neither numpy nor anything else that takes time is imported here, and neither of the two.
"""

import os

# onnxruntime from 1.29 on starts telemetry as it is imported; it looks once, then, whether it may
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
