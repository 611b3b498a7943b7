"""From a predictions file and the annotations to scores, by ``evaluate``, without torch."""
