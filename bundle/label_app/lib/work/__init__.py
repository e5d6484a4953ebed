"""Long work: trainings, scores and predictions of many images, each in a process of its own."""
