"""What a training does on the device it computes on: where pixels are kept, augmentation of batches, recorded steps.

Nothing here knows of rounds, configs or files, and nothing imports the trainer.
"""
