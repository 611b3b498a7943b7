"""From a predictions file and the annotations to scores, without torch.

``evaluate`` is the entry; ``Predictions`` is the file that it reads; ``controls`` makes predictions that need
no model.
"""
