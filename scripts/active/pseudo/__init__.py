"""What becomes of the probabilities of an unlabelled image before a training learns from them: steps of a chain."""
