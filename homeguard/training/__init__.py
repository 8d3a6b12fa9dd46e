"""The lab: corpora, synthesis, training and evaluation. Needs the extra `train`."""

import os

# Before NumPy loads. A mel's products are small: on a busy machine two BLAS threads wait for each
# other, and a batch of windows took 1.0 s of CPU instead of 0.13. torch's threads are not touched.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
