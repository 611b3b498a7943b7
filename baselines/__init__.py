"""The losses RSPose is compared with, one file a loss. A file added here is a loss added to the benchmark."""
